"""Which files Kedro's loader reads a configuration from, and what those files take from elsewhere."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# What Kedro takes for configuration.
_SUFFIXES = (".yml", ".yaml", ".json")
_RUNTIME_PARAM = re.compile(r"\$\{runtime_params:\s*([^\s,}]+)")
_VARIABLE = re.compile(r"\$\{oc\.env:\s*([^\s,}]+)")


class ConfigFiles:
    """The files of a configuration folder.

    Args:
        conf: the folder, ``conf``.
        env: the environment; None is Kedro's default.
        loader_args: ``CONFIG_LOADER_ARGS`` of the project's ``settings.py``.
    """

    def __init__(self, conf: Path, env: str | None, loader_args: Mapping[str, Any]) -> None:
        self._conf = conf
        self._env = env
        self._default = loader_args.get("default_run_env") or ""
        self._base = conf / (loader_args.get("base_env") or "")
        self._patterns = loader_args.get("config_patterns") or {}

    def of(self, *names: str) -> list[Path]:
        """The files of these configurations, ``catalog`` say; those of the environment first."""
        folders = dict.fromkeys((self._conf / (self._env or self._default), self._base))
        patterns = [pattern for name in names for pattern in self._patterns.get(name, patterns_of(name))]
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
    def left_behind(self) -> list[Path]:
        """The files that are read on this machine only: those of ``conf/local``, which no image contains.

        Credentials are not listed, because they are there to stay.
        """
        local = self._conf / self._default
        if self._env not in (None, self._default) or local in (self._conf, self._base):
            return []
        found = [path for path in sorted(local.rglob("*")) if path.suffix in _SUFFIXES]
        return [path for path in found if not path.name.startswith("credentials")]

    def _all(self, what: re.Pattern[str]) -> set[str]:
        files = [path for path in self._conf.rglob("*") if path.suffix in _SUFFIXES]
        return {name for path in files for name in what.findall(path.read_text(encoding="utf-8", errors="replace"))}


def patterns_of(name: str) -> list[str]:
    """Where a configuration is looked for that ``settings.py`` says nothing about."""
    return [f"{name}*", f"{name}*/**", f"**/{name}*"]
