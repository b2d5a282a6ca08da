"""The Kedro project on disk → its settings, its pipelines' plans and compiled specs.

No session is opened: kedro-mlflow would then call the MLflow server, and compiling needs no network.
"""

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from kedro.config import MissingConfigException
from kedro.framework.project import pipelines, settings
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

from . import params as runtime_params
from .catalog import Catalog
from .config import Settings, parse_settings
from .errors import UserError, did_you_mean, launch_extra
from .plan import Plan, make_plan, refuse_missing_inputs

_PLACEHOLDER = re.compile(r"<[^<>]+>")
_TRACKING_URI = "MLFLOW_TRACKING_URI"
_RUNTIME_PARAM = re.compile(r"\$\{runtime_params:\s*([\w.]+)")


class Project:
    """What the launcher reads of a project in one environment.

    Args:
        path: the project's root, where ``pyproject.toml`` is.
        env: the configuration environment, a folder below ``conf``; None is Kedro's default.
        params: runtime parameters, nested.
    """

    def __init__(self, path: Path, env: str | None = None, params: dict[str, Any] | None = None) -> None:
        metadata = bootstrap_project(path)
        self.path = metadata.project_path
        self.package_name = metadata.package_name
        self.env = env
        self.params = params or {}
        conf = self.path / settings.CONF_SOURCE
        # No path: CI's approvals are by name.
        if env and (not re.fullmatch(r"[\w-]+", env) or not (conf / env).is_dir()):
            known = [folder.name for folder in conf.iterdir() if folder.is_dir()]
            raise UserError(f"--env {env}: there is no folder {conf.name}/{env}.{did_you_mean(env, known)}")
        self._conf = conf
        self._loader = settings.CONFIG_LOADER_CLASS(
            conf_source=str(conf), env=env, runtime_params=self.params, **settings.CONFIG_LOADER_ARGS
        )

    @property
    def settings_file(self) -> str:
        """Where the settings stand, for a message."""
        return f"conf/base/vertexai.yml with conf/{self.env}" if self.env else "conf/base/vertexai.yml"

    @cached_property
    def settings(self) -> Settings:
        """``vertexai.yml``, validated."""
        raw = self._config("vertexai")
        if not raw:
            raise UserError(f"{self.settings_file}: not found, or empty. It needs at least run_config.image.")
        return parse_settings(raw, self.settings_file)

    def pipeline(self, name: str, selection: Mapping[str, Any] | None = None) -> Pipeline:
        """The registered pipeline of that name.

        Args:
            name: in ``pipeline_registry.py``.
            selection: which part of it, by the arguments of Kedro's ``Pipeline.filter``.

        Raises:
            UserError: when there is none, or no such part of it.
        """
        pipelines.set_requested(None)
        try:
            found = pipelines[name]
        except KeyError:
            raise UserError(
                f"--pipeline {name}: pipeline_registry.py registers no such pipeline."
                + did_you_mean(name, pipelines.keys())
            ) from None
        try:
            return found.filter(**selection) if selection else found
        except ValueError as error:
            raise UserError(f"No such part of pipeline '{name}': {error}") from None

    def plan(self, pipeline: str, selection: Mapping[str, Any] | None = None) -> Plan:
        """The steps of a registered pipeline, or of a part of it, under this environment's settings."""
        run_config = self.settings.run_config
        if run_config.on_exit_pipeline:
            on_exit = self.pipeline(run_config.on_exit_pipeline)
            refuse_missing_inputs(run_config.on_exit_pipeline, on_exit, self._catalog.entry)
        return make_plan(pipeline, self.pipeline(pipeline, selection), run_config, self._catalog.entry)

    def compile(self, plan: Plan, image: str | None = None) -> dict[str, Any]:
        """The spec of a plan, its ``params`` defaulting to this project's runtime parameters.

        Args:
            plan: see ``plan``.
            image: container image of the steps, if not ``run_config.image``.
        """
        with launch_extra():
            from .compiler import compile_plan
        self.check_params(plan.pipeline)
        run_config = self.settings.run_config
        aliases = run_config.network.host_aliases
        return compile_plan(
            plan,
            project_name=self.package_name,
            package=self.package_name,
            image=image or run_config.image,
            env=self.env,
            params=self.params,
            root=run_config.root,
            description=run_config.description,
            host_aliases={name: str(alias.ip) for alias in aliases for name in alias.hostnames},
        )

    def check_params(self, pipeline: str) -> None:
        """Refuse runtime parameters that reach neither a node of the pipeline nor a configuration file."""
        if not self.params:
            return
        declared = settings.CONFIG_LOADER_CLASS(
            conf_source=str(self._conf), env=self.env, **settings.CONFIG_LOADER_ARGS
        )
        inputs = self.pipeline(pipeline).inputs()
        if on_exit := self.settings.run_config.on_exit_pipeline:
            inputs |= self.pipeline(on_exit).inputs()
        consumed = {name.removeprefix("params:") for name in inputs if name.startswith("params:")}
        if "parameters" in inputs:
            consumed.add("")
        files = [path.read_text(encoding="utf-8") for path in self._conf.rglob("*.yml")]
        runtime_params.check_known(
            self.params,
            _get(declared, "parameters"),
            consumed,
            {name for text in files for name in _RUNTIME_PARAM.findall(text)},
            pipeline,
        )

    @property
    def mlflow_tracking_uri(self) -> str:
        """``server.mlflow_tracking_uri`` of ``mlflow.yml``; MLflow's own default if it is not there."""
        return (self._config("mlflow").get("server") or {}).get("mlflow_tracking_uri") or "mlruns"

    def shared_mlflow(self) -> str:
        """The tracking URI by which containers find this environment's MLflow store, also if it is a file here.

        Raises:
            UserError: when the configuration names a file without asking the environment variable first.
        """
        uri = self.mlflow_tracking_uri
        if uri.startswith(("http://", "https://")):
            return uri
        os.environ[_TRACKING_URI] = shared = f"sqlite:///{self.path / uri.removeprefix('sqlite:///')}"
        if not uri.startswith("sqlite:") or Project(self.path, self.env).mlflow_tracking_uri != shared:
            raise UserError(
                f"mlflow.yml: server.mlflow_tracking_uri: {uri} is a place that containers do not see. Name a server, "
                f'or let it be ${{oc.env:{_TRACKING_URI}, "sqlite:///mlflow.db"}}'
            )
        return shared

    @property
    def facts(self) -> dict[str, Any]:
        """``globals.yml``: what this environment knows of its cloud."""
        return self._config("globals")

    def placeholders(self, *names: str) -> list[str]:
        """What these configurations, ``mlflow`` say, use and nobody has filled in yet: ``file: key: <placeholder>``."""
        used = {
            found for name in names for value in _leaves(self._config(name)) for found in _PLACEHOLDER.findall(value)
        }
        files = [file for env in (self.env, "base") if env for file in sorted((self._conf / env).rglob("*.yml"))]
        return [
            f"{file.relative_to(self.path)}: {key}: {value}"
            for file in dict.fromkeys(files)
            if file.stem.startswith(("globals", *names))
            for key, value in _named_leaves(yaml.safe_load(file.read_text(encoding="utf-8")))
            if used.intersection(_PLACEHOLDER.findall(str(value)))
        ]

    def refuse_placeholders(self, *names: str) -> None:
        """Refuse to go on while these configurations use what has not been filled in.

        Raises:
            UserError: naming files, keys and placeholders.
        """
        if left := self.placeholders(*names):
            raise UserError(f"Not filled in yet: {'; '.join(left)}")

    @cached_property
    def _catalog(self) -> Catalog:
        return Catalog(self._config("catalog"), "catalog.yml")

    def _config(self, name: str) -> dict[str, Any]:
        return _get(self._loader, name)


def is_placeholder(value: Any) -> bool:
    """Whether a value is still to be filled in."""
    return bool(_PLACEHOLDER.search(str(value)))


def _leaves(config: Any) -> Iterator[str]:
    return (str(value) for _key, value in _named_leaves(config))


def _named_leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``{"a": {"b": 1}}`` → ``a.b``, 1"""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from _named_leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, config


def _get(loader: Any, name: str) -> dict[str, Any]:
    try:
        return loader[name] or {}
    except MissingConfigException:
        return {}
