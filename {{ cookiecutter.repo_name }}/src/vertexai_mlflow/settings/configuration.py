"""The configuration of one environment: what Kedro's loader reads, from which files, and what they take from where."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from omegaconf import OmegaConf

from ..errors import UserError
from .unreadable import unreadable

# What Kedro takes for configuration.
_SUFFIXES = (".yml", ".yaml", ".json")
_RUNTIME_PARAM = re.compile(r"\$\{runtime_params:\s*([^\s,}]+)")
_VARIABLE = re.compile(r"\$\{oc\.env:\s*([^\s,}]+)")
# Begins the names of resolvers whose values are secrets.
_SECRET = "gcp."


class Configuration:
    """The configuration of one environment.

    Args:
        root: the project's folder.
        conf: the folder ``conf``.
        env: the environment; None is Kedro's default.
        loader_class: ``CONFIG_LOADER_CLASS`` of the project's ``settings.py``.
        loader_args: its ``CONFIG_LOADER_ARGS``.
    """

    def __init__(
        self, root: Path, conf: Path, env: str | None, loader_class: Any, loader_args: Mapping[str, Any]
    ) -> None:
        self._root = root
        self._conf = conf
        self._env = env
        self._loader = partial(loader_class, conf_source=str(conf), env=env)
        self._args = dict(loader_args)
        self._resolvers: dict[str, Any] = self._args.get("custom_resolvers") or {}
        self._default = self._args.get("default_run_env") or ""
        self._base = conf / (self._args.get("base_env") or "")

    def read(self, name: str, params: dict[str, Any], resolvers: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What Kedro's loader has under a name, ``catalog`` say; empty if there is no such file.

        Args:
            name: its name.
            params: runtime parameters, nested, escaped by ``contract.literal``.
            resolvers: custom resolvers instead of the project's own.

        Raises:
            UserError: when a file is not well-formed, or takes what is nowhere.
        """
        if name in ("catalog", "parameters"):
            # What Google gives is for the steps only. It must not get into a spec.
            hidden = {name: partial(_always, "***") for name in self._resolvers if name.startswith(_SECRET)}
            resolvers = resolvers or {**self._resolvers, **hidden}
        self._forget_resolvers()
        try:
            args = {**self._args, "custom_resolvers": resolvers or self._resolvers}
            loader = self._loader(runtime_params=params, **args)
            getattr(loader, "config_patterns", {}).setdefault(name, _patterns(name))
            return loader[name] or {}
        except MissingConfigException:
            return {}
        except Exception as error:
            raise UserError(unreadable(error, self.files(name, "globals"), self._root)) from error
        finally:
            self._forget_resolvers()

    def resolved_at_start(self, params: dict[str, Any]) -> dict[str, Any]:
        """The values of parameters and catalog that custom resolvers make, as ``StepArguments.resolve`` has them.

        A resolver may look at the clock, so its value must be the same in all steps. What is found by ``gcp.…``, or by
        it among others, is a secret, and stays out. No resolver is called to find that out.
        """
        if not self._moments:
            return {}
        found = {name: self.marked(name, params) for name in ("parameters", "catalog")}
        marks = [_mark(name) for name in self._moments]
        return _where(found, lambda text: any(mark in text for mark in marks) and _mark(_SECRET) not in text) or {}

    def marked(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """What Kedro's loader has under a name, with marks in the place of what custom resolvers would make."""
        if not self._moments:
            return self.read(name, params)
        kinds = {name: _SECRET if name.startswith(_SECRET) else name for name in self._resolvers}
        return self.read(name, params, {name: partial(_always, _mark(kind)) for name, kind in kinds.items()})

    @property
    def _moments(self) -> list[str]:
        """The custom resolvers that may look at the clock."""
        return [name for name in self._resolvers if not name.startswith((_SECRET, "oc."))]

    def files(self, *names: str) -> list[Path]:
        """The files of these configurations, ``catalog`` say; those of the environment first."""
        folders = dict.fromkeys((self._conf / (self._env or self._default), self._base))
        own = self._args.get("config_patterns") or {}
        patterns = [pattern for name in names for pattern in own.get(name, _patterns(name))]
        return [
            file
            for folder in folders
            # For Kedro, `**` at the end of a pattern stands for files too.
            for file in sorted({found for one in patterns for found in folder.glob(re.sub(r"\*\*$", "**/*", one))})
            if file.suffix in _SUFFIXES
        ]

    @property
    def runtime_params(self) -> set[str]:
        """The runtime parameters that files take by ``${runtime_params:…}``, whatever their environment."""
        return self._all(_RUNTIME_PARAM)

    @property
    def variables(self) -> set[str]:
        """The environment variables that files take by ``${oc.env:…}``, likewise."""
        return self._all(_VARIABLE)

    @property
    def local_files(self) -> list[Path]:
        """The files of ``conf/local`` in which something stands. No image contains that folder.

        Credentials are not listed, because they are there to stay on a machine.
        """
        local = self._conf / self._default
        if local in (self._conf, self._base):
            return []
        found = [path for path in sorted(local.rglob("*")) if path.suffix in _SUFFIXES]
        return [path for path in found if not path.name.startswith("credentials") and path.stat().st_size]

    @property
    def reads_local(self) -> bool:
        """Whether ``conf/local`` is read in this environment, as Kedro does it by default."""
        return self._env in (None, self._default)

    def _forget_resolvers(self) -> None:
        """OmegaConf has one list of resolvers for the process, and Kedro does not replace one that is there."""
        for name in self._resolvers:
            OmegaConf.clear_resolver(name)

    def _all(self, what: re.Pattern[str]) -> set[str]:
        files = [path for path in self._conf.rglob("*") if path.suffix in _SUFFIXES]
        return {name for path in files for name in what.findall(path.read_text(encoding="utf-8", errors="replace"))}


def _patterns(name: str) -> list[str]:
    """Where a configuration is looked for that ``settings.py`` says nothing about."""
    return [f"{name}*", f"{name}*/**", f"**/{name}*"]


def _mark(resolver: str) -> str:
    return f"\0{resolver}\0"


def _always(value: Any, *_args: Any) -> Any:
    """A resolver that gives this value."""
    return value


def _where(nested: Any, chosen: Callable[[str], bool]) -> Any:
    """The keys of the values whose text is chosen, nested, each True; None if there are none. A list is one value."""
    if not isinstance(nested, Mapping):
        return True if chosen(str(nested)) else None
    return {key: found for key, value in nested.items() if (found := _where(value, chosen))} or None
