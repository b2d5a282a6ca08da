"""The Kedro project in one environment: folder and environment in; settings, catalog, parameters and pipelines out.

No Kedro session is opened: kedro-mlflow would then call the MLflow server, and compiling needs no network.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import yaml
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines, settings
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

from .contract.params import leaves, literal
from .errors import PLACEHOLDER, UserError, did_you_mean, in_own_code, not_filled_in, short_path
from .settings.carried_over import without_meaningless_keys
from .settings.configuration import Configuration, ResolvedOnce
from .settings.models import LaunchConfig, RunConfig, Settings, Target, parse_settings

_TRACKING_URI = "MLFLOW_TRACKING_URI"
_NO_SETTINGS = "settings.py cannot be imported, and Kedro would go on without it, and so without the project's hooks. "
# Plugins whose hooks add no parameters and no datasets.
_HARMLESS_PLUGINS = ("kedro-mlflow", "kedro-viz", "kedro-telemetry")
# A store in files, as a path or a URL, which MLflow 3 has no more.
_FILE_STORE = re.compile(r"(?!\w+:|databricks$|uc$).*|file:.*")


class Project:
    """What the launcher reads of a project.

    Args:
        path: root of the project, where ``pyproject.toml`` is.
        env: the configuration environment, a folder below ``conf``; None is Kedro's default.
        params: runtime parameters, nested.
        conf_source: folder of the project that has the configuration; None is Kedro's ``CONF_SOURCE``.
        launch: entry of ``run_config.launches`` whose resources count; empty for none.

    Attributes:
        conf: the folder with the configuration.
    """

    def __init__(
        self,
        path: Path,
        env: str | None = None,
        params: dict[str, Any] | None = None,
        conf_source: str | None = None,
        launch: str = "",
    ) -> None:
        metadata = bootstrap_project(path)
        _import_settings(metadata.package_name, Path(metadata.source_dir))
        self.path = metadata.project_path
        self.source = Path(metadata.source_dir)
        self.package_name = metadata.package_name
        self.env = env
        self.params = params or {}
        self.conf_source = conf_source
        self._launch = launch
        self.conf = conf = Path(os.path.normpath(self.path / (conf_source or settings.CONF_SOURCE)))
        if conf_source and not (conf.is_dir() and conf.is_relative_to(self.path)):
            raise UserError(
                f"--conf-source {conf_source}: name a folder of this project, because the steps read it in their image."
            )
        if not conf.is_dir():
            raise UserError(f"settings.py: CONF_SOURCE: there is no folder {settings.CONF_SOURCE}.")
        self.configuration = Configuration(
            self.path, conf, env, settings.CONFIG_LOADER_CLASS, settings.CONFIG_LOADER_ARGS
        )
        # A name and never a path: CI's approvals are given to names.
        if env and (not re.fullmatch(r"[\w-]+", env) or not (conf / env).is_dir()):
            environments = [folder.name for folder in conf.iterdir() if folder.is_dir()]
            hint = did_you_mean(env, environments)
            raise UserError(f"--env, or KEDRO_ENV: {env}: there is no folder {conf.name}/{env}.{hint}")

    def name_of(self, path: Path) -> str:
        """How a message names a path: relative to the project, if it is below it."""
        return short_path(path, self.path)

    def refuse_configuration_elsewhere(self) -> None:
        """Refuse to go on if the configuration is outside of the project, and so in no image.

        Raises:
            UserError: naming the setting or the link.
        """
        if self.conf.resolve().is_relative_to(self.path.resolve()):
            return
        name = self.name_of(self.conf)
        where = f"{name} is a link to {self.conf.resolve()}" if self.conf.is_symlink() else f"CONF_SOURCE is {name}"
        raise UserError(
            f"settings.py: {where}, outside of this project, so the steps' image has no configuration. Copy the folder "
            "into the project, or run the pipeline in an environment without run_config.root, on this machine."
        )

    @property
    def settings_file(self) -> str:
        """Where the settings stand, for a message."""
        return f"conf/base/vertexai.yml with conf/{self.env}" if self.env else "conf/base/vertexai.yml"

    @property
    def settings(self) -> Settings:
        """``vertexai.yml``, validated.

        Raises:
            UserError: naming every wrong key.
        """
        return self._settings_and_warnings[0]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know about the settings."""
        return self._settings_and_warnings[1]

    @cached_property
    def _settings_and_warnings(self) -> tuple[Settings, tuple[str, ...]]:
        raw = self.config("vertexai")
        if not raw:
            raise UserError(f"{self.settings_file}: not found, or empty. It needs at least run_config.image.")
        raw, warnings = without_meaningless_keys(raw, self.settings_file)
        parsed = parse_settings(raw, self.settings_file)
        root = self._with_scheme(parsed.run_config.root)
        if root and root != parsed.run_config.root:
            where = f"{self.settings_file}: run_config.root: {parsed.run_config.root}"
            warnings.append(f"{where} is read as the bucket {root}. Write it with gs:// to be clear.")
        changes: dict[str, Any] = {"root": root}
        if self._launch:
            resources = self._launch_in(parsed.run_config, self._launch).resources
            changes["resources"] = {**parsed.run_config.resources, **resources}
        settings = parsed.model_copy(update={"run_config": parsed.run_config.model_copy(update=changes)})
        return settings, tuple(warnings)

    def launch(self, name: str) -> LaunchConfig:
        """An entry of ``run_config.launches``.

        Raises:
            UserError: when there is none of this name.
        """
        return self._launch_in(self.settings.run_config, name)

    def _launch_in(self, run_config: RunConfig, name: str) -> LaunchConfig:
        if name not in run_config.launches:
            hint = did_you_mean(name, run_config.launches)
            raise UserError(f"{self.settings_file}: run_config.launches has no entry '{name}'.{hint}")
        return run_config.launches[name]

    @property
    def has_hooks(self) -> bool:
        """Whether code of the project's own, or of a plugin that is not known, runs around nodes and datasets."""
        own_context = settings.CONTEXT_CLASS is not KedroContext
        return own_context or bool([*settings.HOOKS, *_plugin_hooks(settings.DISABLE_HOOKS_FOR_PLUGINS)])

    @cached_property
    def session_hooks(self) -> list[str]:
        """What may add parameters and datasets when a session is created: ``AddNumbers.after_catalog_created``

        These are the project's own hooks, those of installed plugins, and a context class of its own.
        """
        return [*self.context_hooks, *_hooks_named("after_catalog_created", "before_pipeline_run")]

    @cached_property
    def context_hooks(self) -> list[str]:
        """Those of ``session_hooks`` that may change the configuration before Kedro makes a catalog of it."""
        own_context = settings.CONTEXT_CLASS is not KedroContext
        names = [f"the context class {settings.CONTEXT_CLASS.__name__}"] if own_context else []
        return [*names, *_hooks_named("after_context_created")]

    @property
    def left_behind(self) -> list[str]:
        """What is to be said about files of ``conf/local``, which the steps on Vertex AI never read."""
        files = ", ".join(map(self.name_of, self.configuration.local_files))
        if not files:
            return []
        if not self.configuration.reads_local:
            return [f"{files}: not read with -e {self.env}, as kedro run -e {self.env} does not."]
        fix = "Move what the steps need to another environment, and name that with -e."
        return [f"{files}: read on this machine, but not in the image, which has no conf/local. {fix}"]

    @property
    def data_file(self) -> Path:
        """Where this environment records what was uploaded; Kedro reads it as a part of ``vertexai.yml``."""
        return self.conf / (self.env or "base") / "vertexai_data.yml"

    @property
    def target(self) -> Target:
        """Where this environment launches jobs. Whatever asks the cloud for something starts here.

        Raises:
            UserError: when a fact is not filled in, or the settings name no project and region.
        """
        self.refuse_placeholders("vertexai", "mlflow")
        return self.settings.target(self.settings_file)

    @property
    def image(self) -> str:
        """The container image of the steps, in a registry.

        Raises:
            UserError: when a fact is not filled in.
        """
        self.refuse_placeholders("vertexai")
        return self.settings.run_config.image

    def pipeline(self, name: str, selection: Mapping[str, Any] | None = None) -> Pipeline:
        """The registered pipeline of that name.

        Args:
            name: in ``pipeline_registry.py``; several are joined by commas, as in ``kedro run --pipelines``.
            selection: which part of it, by the arguments of Kedro's ``Pipeline.filter``.

        Raises:
            UserError: when there is none, or no such part of it, or when the project's own code raises something.
        """
        registered, names = self._registered_pipelines(), name.split(",")
        for missing in [name for name in names if name not in registered]:
            hint = did_you_mean(missing, registered)
            raise UserError(f"--pipeline {missing}: pipeline_registry.py registers no such pipeline.{hint}")
        if type(registered[names[0]]).__name__ == "PipelineML":
            raise UserError(
                f"Pipeline '{name}' is made by kedro-mlflow's pipeline_ml_factory, which logs its inference pipeline "
                "at the end of the one process that has run all the training. Steps are processes of their own. "
                "Register the training pipeline by itself, and launch that."
            )
        try:
            whole = sum((registered[part] for part in names), Pipeline([]))
            return whole.filter(**selection) if selection else whole
        except ValueError as error:
            hints = _unknown_names(whole, selection or {})
            raise UserError(f"There is no such part of pipeline '{name}': {str(error).rstrip('.')}{hints}") from None

    def pipelines_with(self, name: str) -> dict[str, Pipeline]:
        """The registered pipelines whose type hints count for the parameters when Kedro runs one: for __default__, all.

        Args:
            name: see ``pipeline``.
        """
        registered, names = self._registered_pipelines(), name.split(",")
        return registered if "__default__" in names else {name: registered[name] for name in names}

    @property
    def pipeline_names(self) -> list[str]:
        """The names of the registered pipelines that can become jobs, in order.

        Raises:
            UserError: when the project's own code raises something.
        """
        registered = self._registered_pipelines()
        return [name for name, pipeline in registered.items() if type(pipeline).__name__ != "PipelineML"]

    def _registered_pipelines(self) -> dict[str, Pipeline]:
        pipelines.set_requested(None)
        try:
            return dict(pipelines)
        except UserError:
            raise
        except Exception as error:
            raise UserError(in_own_code(error, self.source)) from error

    @property
    def made_datasets(self) -> set[str]:
        """The datasets that nodes of any registered pipeline make."""
        nodes = [node for pipeline in self._registered_pipelines().values() for node in pipeline.nodes]
        return {output for node in nodes for output in node.outputs}

    def config(self, name: str) -> dict[str, Any]:
        """What Kedro's config loader has under a name, ``catalog`` say; empty if there is no such file.

        Raises:
            UserError: when a file is invalid, or refers to something that does not exist.
        """
        return self.configuration.read(name, literal(self.params))

    @property
    def declared_parameters(self) -> dict[str, Any]:
        """``parameters*.yml`` as it is without runtime parameters, except those that files ask for, nested."""
        names = {name.partition(".")[0] for name in self.configuration.runtime_params}
        params = {name: value for name, value in self.params.items() if name in names}
        return self.configuration.read("parameters", literal(params))

    @property
    def resolved_at_start(self) -> dict[str, Any]:
        """See ``ResolvedOnce.keys``."""
        return self._resolved_once.keys

    @property
    def hidden_parameters(self) -> list[str]:
        """The parameters, with dots, that a resolver makes which may return secrets."""
        prefix = "parameters: "
        places = [place for place in self._resolved_once.left_alone if place.startswith(prefix)]
        return [place.removeprefix(prefix).replace(": ", ".") for place in places]

    @property
    def resolver_warnings(self) -> list[str]:
        """What to say about values of custom resolvers that steps may get differently, or that can be read.

        Raises:
            UserError: when ``resolve_once`` names a resolver that does not exist.
        """
        names = self.settings.run_config.resolve_once
        custom = [name for name in self.configuration.resolvers if not name.startswith(("gcp.", "oc."))]
        for unknown in sorted(set(names or ()) - set(custom)):
            raise UserError(
                f"{self.settings_file}: run_config.resolve_once: settings.py has no resolver '{unknown}'."
                + did_you_mean(unknown, custom)
            )
        resolved = self._resolved_once
        warnings = [
            f"{where} is made by the resolver {', '.join(resolvers)}, which each step calls by itself, so steps may "
            "get different values. If it is no secret, name the resolver in run_config.resolve_once."
            for where, resolvers in resolved.left_alone.items()
            if names is not None and not set(resolvers) <= set(names)
        ]
        if names is None and resolved.handed_on:
            used = ", ".join(sorted({name for resolvers in resolved.handed_on.values() for name in resolvers}))
            warnings.append(
                f"Values of these resolvers are handed on to all steps and can be read in Vertex AI's console: {used}. "
                f"Name those that may be: run_config.resolve_once: [{used}]. Version 0.3 will hand on no others."
            )
        return warnings

    @cached_property
    def _resolved_once(self) -> ResolvedOnce:
        return self.configuration.resolved_once(literal(self.params), self.settings.run_config.resolve_once)

    def marked(self, name: str) -> dict[str, Any]:
        """See ``Configuration.marked``."""
        return self.configuration.marked(name, literal(self.params))

    @property
    def mlflow_tracking_uri(self) -> str:
        """``server.mlflow_tracking_uri`` of ``mlflow.yml``; MLflow's own default if it is not there."""
        return (self.config("mlflow").get("server") or {}).get("mlflow_tracking_uri") or "mlruns"

    def refuse_file_store(self) -> None:
        """Refuse to go on with an MLflow store that the first step could not write to.

        Raises:
            UserError: with what to write instead.
        """
        configured = (self.config("mlflow").get("server") or {}).get("mlflow_tracking_uri")
        uri = configured or os.environ.get(_TRACKING_URI) or self.mlflow_tracking_uri
        if _FILE_STORE.fullmatch(uri) and not PLACEHOLDER.fullmatch(uri):
            raise UserError(
                f"mlflow.yml: server.mlflow_tracking_uri: MLflow 3 keeps no runs in files ({uri}). Name a server, or "
                f'write ${{oc.env:{_TRACKING_URI}, "sqlite:///mlflow.db"}}'
            )

    def shared_mlflow(self) -> str:
        """The tracking URI by which containers find this environment's MLflow store, also if it is a file here.

        Raises:
            UserError: when the configuration names a file without asking the environment variable first.
        """
        uri = self.mlflow_tracking_uri
        if uri.startswith(("http://", "https://")):
            return uri
        shared = f"sqlite:///{self.path / uri.removeprefix('sqlite:///')}"
        with tracking_uri(shared):
            follows = Project(self.path, self.env).mlflow_tracking_uri == shared
        if not uri.startswith("sqlite:") or not follows:
            raise UserError(
                f"mlflow.yml: server.mlflow_tracking_uri: containers do not see {uri}. Name a server, or let it be "
                f'${{oc.env:{_TRACKING_URI}, "sqlite:///mlflow.db"}}'
            )
        return shared

    def placeholders(self, *names: str) -> list[str]:
        """What these configurations, ``mlflow`` say, use and nobody has filled in yet: ``file: key: <placeholder>``."""
        used = {
            placeholder
            for name in names
            for _key, value in leaves(self.config(name))
            for placeholder in PLACEHOLDER.findall(str(value))
        }
        if not used:
            return []
        return [
            f"{self.name_of(file)}: {key}: {value}"
            for file in self.configuration.files("globals", *names)
            for key, value in leaves(yaml.safe_load(file.read_text(encoding="utf-8")))
            if used.intersection(PLACEHOLDER.findall(str(value)))
        ]

    def refuse_placeholders(self, *names: str) -> None:
        """Refuse to go on while these configurations use what has not been filled in.

        Raises:
            UserError: naming files, keys and placeholders.
        """
        if places := self.placeholders(*names):
            raise UserError(not_filled_in(places))

    def _with_scheme(self, root: str | None) -> str | None:
        """kedro-vertexai's files leave out the scheme of a bucket."""
        if not root or "://" in root or root.startswith(("/", "<")):
            return root
        first = root.partition("/")[0]
        if (self.path / first).exists():
            raise UserError(
                f"{self.settings_file}: run_config.root: {root}: is this a bucket, or the folder '{first}' of this "
                f"project? Write gs://{root} for the bucket, or {self.path / root} for the folder."
            )
        return f"gs://{root}"


def _unknown_names(pipeline: Pipeline, selection: Mapping[str, Any]) -> str:
    """The nearest known names of those in a selection that a pipeline does not have, each in a sentence."""
    nodes, datasets = {node.name for node in pipeline.nodes}, pipeline.datasets()
    tags, namespaces = (
        {tag for node in pipeline.nodes for tag in node.tags},
        {node.namespace for node in pipeline.nodes},
    )
    names_by_option = {
        "from_nodes": nodes, "to_nodes": nodes, "node_names": nodes, "from_inputs": datasets, "to_outputs": datasets,
        "tags": tags, "node_namespaces": namespaces - {None},
    }  # fmt: skip
    unknown = {(name, key) for key, names in selection.items() for name in names if name not in names_by_option[key]}
    hints = {did_you_mean(name, names_by_option[key]).partition(" Known:")[0] for name, key in unknown}
    return "".join(f".{hint}" for hint in sorted(hints) if hint)


def _import_settings(package: str, source: Path) -> None:
    """Import settings.py as Kedro does, which goes on with its defaults where an import in it fails.

    Raises:
        UserError: with the place and the words of the error. Other errors than these Kedro shows itself, before this.
    """
    try:
        import_module(f"{package}.settings")
    except ImportError as error:
        if error.name != f"{package}.settings":  # a project needs no settings.py
            raise UserError(_NO_SETTINGS + in_own_code(error, source)) from error


def _hooks_named(*names: str) -> list[str]:
    """The hooks of these names that the project and installed plugins have: ``AddNumbers.after_catalog_created``"""
    hooks = [*settings.HOOKS, *_plugin_hooks(settings.DISABLE_HOOKS_FOR_PLUGINS)]
    return [
        f"{getattr(hook, '__name__', type(hook).__name__)}.{name}"
        for hook in hooks
        for name in names
        if hasattr(hook, name)
    ]


def _plugin_hooks(disabled: Iterable[str]) -> list[Any]:
    """The hooks of installed plugins, except for those of which it is known that they add nothing."""
    left_out = {name.replace("_", "-") for name in (*_HARMLESS_PLUGINS, *disabled)}
    plugins = entry_points(group="kedro.hooks")
    return [hooks.load() for hooks in plugins if not hooks.dist or hooks.dist.name.replace("_", "-") not in left_out]


@contextmanager
def tracking_uri(uri: str) -> Iterator[None]:
    """Let the configuration find this MLflow store, and leave the environment variable as it was afterwards."""
    before = os.environ.get(_TRACKING_URI)
    os.environ[_TRACKING_URI] = uri
    try:
        yield
    finally:
        os.environ.pop(_TRACKING_URI)
        if before is not None:
            os.environ[_TRACKING_URI] = before
