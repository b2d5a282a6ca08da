"""The configuration of one environment: what Kedro's loader reads, from which files, and what those refer to."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException
from omegaconf import OmegaConf

from ..auth.resolvers import secret as resolve_secret
from ..contract import secret_references
from ..errors import UserError
from .load_errors import explain

# The files that Kedro reads as configuration.
_SUFFIXES = (".yml", ".yaml", ".json")
_RUNTIME_PARAM = re.compile(r"\$\{runtime_params:\s*([^\s,}]+)")
_VARIABLE = re.compile(r"\$\{oc\.env:\s*([^\s,}]+)")
# Resolvers whose names begin with this return secrets.
_SECRET = "gcp."
# Names of resolvers, and of keys, whose values never leave the step that resolves them.
_LOOKS_SECRET = re.compile(r"secret|passw|token|credential|vault|private|api_?key", re.IGNORECASE)
# What a stub returns in place of the resolver ``now``: ⟦now⟧
_MARKER = re.compile("⟦(.+?)⟧")


@dataclass(frozen=True)
class ResolvedOnce:
    """The values of custom resolvers, each by the place where it is written: ``parameters: now``.

    Args:
        keys: those that the first task resolves for all steps, for ``JobArguments.resolve``.
        handed_on: the same by place → the resolvers that make it.
        left_alone: those that each step resolves by itself.
    """

    keys: dict[str, Any] = field(default_factory=dict)
    handed_on: dict[str, list[str]] = field(default_factory=dict)
    left_alone: dict[str, list[str]] = field(default_factory=dict)


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
        # The custom resolvers that may look at the clock.
        self._clocks = {name for name in self._resolvers if not name.startswith((_SECRET, "oc."))}
        self._default = self._args.get("default_run_env") or ""
        self._base = conf / (self._args.get("base_env") or "")
        # A project may have a resolver of this name, of which nothing is known but that it returns secrets.
        self._has_our_secrets = self._resolvers.get(secret_references.RESOLVER) is resolve_secret

    def read(self, name: str, params: dict[str, Any], resolvers: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Read what Kedro's loader has under a name, such as ``catalog``; empty if there is no such file.

        Args:
            name: its name.
            params: runtime parameters, nested, escaped by ``params.literal``.
            resolvers: custom resolvers to use instead of the project's own.

        Raises:
            UserError: when a file is invalid, or refers to something that does not exist.
        """
        if resolvers is None:
            # Secrets are for the steps only. They must not get into a spec.
            secrets = [key for key in self._resolvers if key.startswith(_SECRET)]
            hidden = secrets if name in ("catalog", "parameters") else []
            resolvers = {**self._resolvers, **dict.fromkeys(hidden, _stub("***"))}
            if self._has_our_secrets:
                stub = _refuse_secret if name == "parameters" else secret_references.reference
                resolvers[secret_references.RESOLVER] = stub
        self._forget_resolvers()
        try:
            loader = self._loader(runtime_params=params, **{**self._args, "custom_resolvers": resolvers})
            getattr(loader, "config_patterns", {}).setdefault(name, _default_patterns(name))
            return loader[name] or {}
        except MissingConfigException:
            return {}
        except Exception as error:
            raise UserError(explain(error, self.files(name, "globals"), self._root)) from error
        finally:
            self._forget_resolvers()

    def resolved_once(self, params: dict[str, Any], names: Sequence[str] | None) -> "ResolvedOnce":
        """Find the values of parameters and catalog that the first task resolves for all steps.

        Such a value must be the same in all steps, because a resolver may look at the clock. It can be read in Vertex
        AI's console, so what looks like a secret is left to each step. No resolver is called: every resolver is
        replaced by a stub that returns a marker, and a value that contains a marker is made by a resolver.

        Args:
            params: runtime parameters, nested, escaped by ``params.literal``.
            names: ``run_config.resolve_once``; None for all resolvers.
        """
        resolved = ResolvedOnce()
        if self._clocks:
            allowed = self._clocks if names is None else self._clocks & set(names)
            allowed = {name for name in allowed if not _LOOKS_SECRET.search(name)}
            for name in ("parameters", "catalog"):
                if keys := self._keys_to_resolve(self.marked(name, params), allowed, name, resolved):
                    resolved.keys[name] = keys
        return resolved

    def marked(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """Read what Kedro's loader has under a name, with a marker in place of each value that a resolver makes."""
        stubs = {key: _stub(f"⟦{_SECRET if key.startswith(_SECRET) else key}⟧") for key in self._resolvers}
        return self.read(name, params, stubs if self._clocks else None)

    def _keys_to_resolve(self, marked: Any, allowed: set[str], where: str, resolved: "ResolvedOnce") -> Any:
        """The keys of values that may be handed on, nested, each True; empty if there are none. A list is a value."""
        if isinstance(marked, Mapping):
            nested = {
                key: self._keys_to_resolve(value, allowed, f"{where}: {key}", resolved) for key, value in marked.items()
            }
            return {key: keys for key, keys in nested.items() if keys}
        resolvers = resolvers_in(marked)
        if self._clocks.isdisjoint(resolvers) or _SECRET in resolvers:
            return False
        may_travel = resolvers <= allowed and not _LOOKS_SECRET.search(where)
        (resolved.handed_on if may_travel else resolved.left_alone)[where] = sorted(resolvers)
        return may_travel

    def files(self, *names: str) -> list[Path]:
        """The files of these configurations, such as ``catalog``; those of the environment first."""
        folders = dict.fromkeys((self._conf / (self._env or self._default), self._base))
        configured = self._args.get("config_patterns") or {}
        patterns = [pattern for name in names for pattern in configured.get(name, _default_patterns(name))]
        # For Kedro, `**` at the end of a pattern matches files too.
        globs = [re.sub(r"\*\*$", "**/*", pattern) for pattern in patterns]
        return [
            file
            for folder in folders
            for file in sorted({path for pattern in globs for path in folder.glob(pattern)})
            if file.suffix in _SUFFIXES
        ]

    @property
    def resolvers(self) -> Mapping[str, Any]:
        """The custom resolvers, by their names."""
        return self._resolvers

    @property
    def runtime_params(self) -> set[str]:
        """The runtime parameters that files of any environment refer to by ``${runtime_params:…}``."""
        return self._find_in_files(_RUNTIME_PARAM)

    @property
    def variables(self) -> set[str]:
        """The environment variables that files of any environment refer to by ``${oc.env:…}``."""
        return self._find_in_files(_VARIABLE)

    @property
    def secrets(self) -> list[tuple[str, str]]:
        """The secrets, with their versions, that files of this environment name by ``${gcp.secret:…}``."""
        if not self._has_our_secrets:
            return []
        return secret_references.secrets_in({self._base, *([self._conf / self._env] if self._env else [])})

    @property
    def local_files(self) -> list[Path]:
        """The files of ``conf/local`` that are not empty. No image contains that folder.

        Credentials are not listed, because they are meant to stay on this machine.
        """
        local = self._conf / self._default
        if local in (self._conf, self._base):
            return []
        files = [path for path in sorted(local.rglob("*")) if path.suffix in _SUFFIXES]
        return [path for path in files if not path.name.startswith("credentials") and path.stat().st_size]

    @property
    def reads_local(self) -> bool:
        """Whether ``conf/local`` is read in this environment, as Kedro does it by default."""
        return self._env in (None, self._default)

    def _forget_resolvers(self) -> None:
        """OmegaConf has one list of resolvers for the process, and Kedro does not replace one that it has already."""
        for name in self._resolvers:
            OmegaConf.clear_resolver(name)

    def _find_in_files(self, pattern: re.Pattern[str]) -> set[str]:
        files = [path for path in self._conf.rglob("*") if path.suffix in _SUFFIXES]
        return {name for path in files for name in pattern.findall(path.read_text(encoding="utf-8", errors="replace"))}


def resolvers_in(marked: Any) -> set[str]:
    """The resolvers that have a part in a marked value, see ``Configuration.marked``."""
    return set(_MARKER.findall(str(marked)))


def _default_patterns(name: str) -> list[str]:
    """Where to look for a configuration that ``settings.py`` has no patterns for."""
    return [f"{name}*", f"{name}*/**", f"**/{name}*"]


def _refuse_secret(name: str, *_version: str | int) -> str:
    raise UserError(
        f"${{gcp.secret:{name}}} may not be a parameter, because kedro-mlflow logs parameters. Write it into "
        "credentials.yml or catalog.yml."
    )


def _stub(value: str) -> Callable[..., str]:
    """A resolver that returns this value, and the markers of resolvers whose values are its arguments."""
    return lambda *arguments: value + "".join(marker[0] for marker in _MARKER.finditer(str(arguments)))
