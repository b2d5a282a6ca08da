"""Kedro's session and runner for a step, with the job's version, the artifacts between steps, and the step's hooks."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.io import AbstractDataset, CachedDataset, DatasetError, MemoryDataset
from kedro.io.shared_memory_dataset import SharedMemoryDataset
from kedro.runner import SequentialRunner

from ..contract import params
from ..contract.places import MODEL_SCHEMES
from ..errors import masked
from .artifact import ArtifactDataset

_LOG = logging.getLogger(__name__)
# What Kedro logs about each step, whatever the project's logging is, and nobody can do anything about in a step: that
# it replaces datasets, as kedro-mlflow and this runner do, that no type hint names a class for parameters, and that a
# runner on one machine has other ways to run.
_NOISE = (
    "Replacing dataset ", "No typed parameter requirements", "Using synchronous mode ",
    "No nodes ran. Repeat the previous command",
)  # fmt: skip
for _name in ("kedro.io.data_catalog", "kedro.validation.parameter_validator", __name__):
    logging.getLogger(_name).addFilter(lambda record: not str(record.msg).startswith(_NOISE))

# The catalog's dataset is one of these if nothing keeps the data.
_IN_MEMORY = (MemoryDataset, SharedMemoryDataset, CachedDataset)


class StepSession(KedroSession):
    """A session whose versioned datasets have the job's version, with the values that the first task resolved.

    Attributes:
        version: version under which datasets are saved; empty for Kedro's own.
        resolved: configuration → values that replace those of the same keys.
    """

    version: str = ""
    resolved: Mapping[str, Any] = {}

    @property
    def store(self) -> dict[str, Any]:
        """What Kedro keeps about the session; ``session_id`` is the version under which datasets are saved."""
        return {**super().store, **({"session_id": self.version} if self.version else {})}

    def _get_config_loader(self) -> Any:
        loader = super()._get_config_loader()
        for name, values in self.resolved.items():
            loader[name] = params.merged(loader[name], values)
        return loader


def parameters_of(context: KedroContext, pipeline_names: Sequence[str]) -> dict[str, Any]:
    """The parameters as nodes get them, ``params:model.depth`` → 3, when Kedro runs these pipelines.

    Kedro makes objects of parameters by the type hints of nodes: as here, of those of the pipelines that it runs, and
    for ``__default__`` of all. A hook may add more to the catalog.

    Raises:
        ParameterValidationError: when a class does not take what the configuration has.
    """
    if "__default__" not in pipeline_names:
        context._pipelines_to_validate = list(pipeline_names)
    return context._get_parameters()


def resolve(loader: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    """Read the values at some keys of the configuration, encoded for their way to the steps.

    A value that would not come back as it is, such as an object or a date with a named time zone, is left out, and the
    log says so: each step resolves it by itself.

    Args:
        loader: configuration → its content.
        keys: ``JobArguments.resolve``.
    """
    return {name: _values_at(loader[name], nested, name) for name, nested in keys.items()}


def _values_at(config: Any, keys: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = {}
    for key, nested in keys.items():
        if key not in config:
            continue
        value = config[key]
        if nested is not True:
            values[key] = _values_at(value, nested, f"{where}: {key}")
        elif masked(str(value)) != str(value):
            _LOG.warning(
                "%s: %s looks like a secret, so it is not handed on. Each step resolves it by itself.", where, key
            )
        elif params.comes_back(value):
            values[key] = params.encode(value)
        else:
            _LOG.warning(
                "%s: %s: a resolver has returned a %s, which cannot be handed on to the steps. Each step resolves it "
                "by itself, and may get another value.",
                where, key, type(value).__name__,
            )  # fmt: skip
    return values


def job_version(created: str, job_id: str) -> str:
    """The version of everything that a job saves, in Kedro's format and sortable by time.

    Args:
        created: when the job was created, RFC 3339, UTC.
        job_id: the platform's number for the job, which tells apart two jobs of the same second.
    """
    numbers = re.findall(r"\d+", created)[:6]
    if len(numbers) < 6:
        return f"{re.sub('[^0-9A-Za-z]+', '-', created)}-{job_id}"
    year, month, day, hour, minute, second = numbers
    return f"{year}-{month}-{day}T{hour}.{minute}.{second}.000Z-{job_id}"


class StepRunner(SequentialRunner):
    """Runs the nodes of a step.

    Args:
        artifacts: dataset → the dataset by which it travels between steps.
        models: dataset that is a model of the MLflow run → the folder to load it from; empty if this step makes it.
        hooks: objects with Kedro hook methods, for this run only.
        is_async: whether a node's datasets are loaded and saved concurrently.

    Attributes:
        model_uris: dataset → the address of the model that this step has logged.
    """

    def __init__(
        self,
        artifacts: Mapping[str, ArtifactDataset] | None = None,
        models: Mapping[str, str] | None = None,
        hooks: Sequence[object] = (),
        is_async: bool = False,
    ) -> None:
        super().__init__(is_async=is_async)
        self._artifacts = artifacts or {}
        self._models = models or {}
        self._hooks = hooks
        self._catalog: Any = None
        self.model_uris: dict[str, str] = {}

    def __str__(self) -> str:  # kedro-mlflow makes this a tag
        return type(self).__name__

    def run(self, pipeline: Any, catalog: Any, hook_manager: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Run the pipeline as ``SequentialRunner`` does.

        Raises:
            DatasetError: also when an output cannot be pickled; the message names the node and the dataset.
        """
        self._catalog = catalog
        makers = {dataset: node.name for node in pipeline.nodes for dataset in node.outputs}
        for name, dataset in self._artifacts.items():
            _refuse_dataset_of_a_hook(catalog, name)
            _replace(catalog, name, dataset)
        for name, folder in self._models.items():
            if folder:
                config = catalog.config_resolver.resolve_pattern(name)
                config = {**config, "load_args": {**(config.get("load_args") or {}), "model_uri": folder}}
                _replace(catalog, name, AbstractDataset.from_config(name, config))
        for hook in self._hooks:
            hook_manager.register(hook)
        try:
            result = super().run(pipeline, catalog, hook_manager, **kwargs)
            uris = {name: str(getattr(catalog.get(name), "model_uri", None) or "") for name in makers}
            self.model_uris = {name: uri for name, uri in uris.items() if uri.startswith(MODEL_SCHEMES)}
            return result
        except DatasetError as error:
            for name, dataset in self._artifacts.items():
                if dataset.unserialisable_type is not None and name in makers:
                    raise DatasetError(
                        f"Node '{makers[name]}' made dataset '{name}', a {dataset.unserialisable_type}, which cannot "
                        "be written as an artifact. Let the node return something that can be pickled, or add the "
                        f"dataset to the catalog. ({error.__cause__ or error})"
                    ) from error
            raise

    def has_nothing(self, name: str) -> bool:
        """Whether Kedro finds nothing where a dataset is kept, after the run. A class that cannot tell says no."""
        dataset = self._catalog[name]
        if isinstance(dataset, CachedDataset):  # it has the data in memory, wherever it is kept
            dataset = dataset._dataset
        return type(dataset)._exists is not AbstractDataset._exists and not dataset.exists()


def _replace(catalog: Any, name: str, dataset: AbstractDataset) -> None:
    """Replace a dataset of the catalog, and keep its validator, which Kedro would drop."""
    _ = catalog.get(name)  # gives an entry of a dataset factory its validator
    validator = getattr(catalog, "validator_specs", {}).get(name)
    catalog[name] = dataset
    if validator:
        catalog._validator_specs[name] = validator


def _refuse_dataset_of_a_hook(catalog: Any, name: str) -> None:
    dataset = catalog.get(name)
    if dataset is not None and not isinstance(dataset, _IN_MEMORY):
        raise DatasetError(
            f"Dataset '{name}' was registered only by a hook ({type(dataset).__name__}). The compiled job cannot see "
            "that and would pass the data as an artifact instead. Add the dataset to catalog.yml."
        )
