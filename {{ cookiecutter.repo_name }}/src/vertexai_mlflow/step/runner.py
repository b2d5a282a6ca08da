"""Kedro's session and runner as a step needs them: the job's version, what travels between steps, the step's hooks."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kedro.framework.session import KedroSession
from kedro.io import AbstractDataset, CachedDataset, DatasetError, MemoryDataset
from kedro.io.shared_memory_dataset import SharedMemoryDataset
from kedro.runner import SequentialRunner

from .. import contract
from .artifact import ArtifactDataset

# What the catalog may have for a dataset that it does not keep.
_IN_MEMORY = (MemoryDataset, SharedMemoryDataset, CachedDataset)


class StepSession(KedroSession):
    """A session whose versioned datasets have the version of the job, and that takes what the first task resolved."""

    version = ""
    resolved: Mapping[str, Any] = {}

    @property
    def store(self) -> dict[str, Any]:
        """What Kedro keeps about the session; ``session_id`` is the version under which datasets are saved."""
        return {**super().store, **({"session_id": self.version} if self.version else {})}

    def _get_config_loader(self) -> Any:
        loader = super()._get_config_loader()
        for name, values in self.resolved.items():
            loader[name] = contract.merged(loader[name], values)
        return loader


def resolved(loader: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What the configuration has at the chosen keys, encoded for its way to the steps.

    Args:
        loader: configuration → its content.
        chosen: ``StepArguments.resolve``.
    """
    return {name: _chosen(loader[name], keys) for name, keys in chosen.items()}


def _chosen(config: Any, keys: Any) -> Any:
    if keys is True:
        return contract.encode(config)
    found = {key: _chosen(config[key], below) for key, below in keys.items() if key in config}
    # An object of Python, such as a type of polars, each step makes by itself.
    return {key: value for key, value in found.items() if _is_json(value)}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def job_version(created: str, job_id: str) -> str:
    """The version of everything that a job saves, in Kedro's format and sortable by time.

    Args:
        created: when the job was created, RFC 3339, UTC.
        job_id: the platform's number for the job, which tells apart two jobs of one second.
    """
    year, month, day, hour, minute, second = re.findall(r"\d+", created)[:6]
    return f"{year}-{month}-{day}T{hour}.{minute}.{second}.000Z-{job_id}"


class StepRunner(SequentialRunner):
    """Runs the nodes of a step.

    Args:
        artifacts: dataset → where it is kept between steps.
        models: dataset that is a model of the MLflow run → the model's address; empty if this step makes it.
        hooks: objects with Kedro hook methods, for this run only.
        is_async: whether a node's datasets are loaded and saved side by side.

    Attributes:
        model_uris: dataset → the address of the model that this step has made.
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
        self.model_uris: dict[str, str] = {}

    def __str__(self) -> str:  # kedro-mlflow makes this a tag
        return type(self).__name__

    def run(self, pipeline: Any, catalog: Any, hook_manager: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Run the pipeline as ``SequentialRunner`` does.

        Raises:
            DatasetError: also when what a node made cannot be written, naming node and dataset.
        """
        makers = {dataset: node.name for node in pipeline.nodes for dataset in node.outputs}
        for name, dataset in self._artifacts.items():
            _refuse_what_a_hook_keeps(catalog, name)
            _replace(catalog, name, dataset)
        for name, uri in self._models.items():
            if uri:
                config = catalog.to_config()[0][name]
                config = {**config, "load_args": {**(config.get("load_args") or {}), "model_uri": uri}}
                _replace(catalog, name, AbstractDataset.from_config(name, config))
        for hook in self._hooks:
            hook_manager.register(hook)
        try:
            done = super().run(pipeline, catalog, hook_manager, **kwargs)
            self.model_uris = {name: str(catalog[name].model_uri) for name, uri in self._models.items() if not uri}
            return done
        except DatasetError as error:
            for name, dataset in self._artifacts.items():
                if dataset.refused is not None and name in makers:
                    raise DatasetError(
                        f"Node '{makers[name]}' made dataset '{name}', a {dataset.refused}, which cannot be written as "
                        "an artifact. Let the node return something that can be pickled, or give the dataset a place "
                        f"in the catalog. ({error.__cause__ or error})"
                    ) from error
            raise


def _replace(catalog: Any, name: str, dataset: AbstractDataset) -> None:
    """Put a dataset in place of what the catalog has, and keep the validator of that, which Kedro would drop."""
    _ = catalog.get(name)  # an entry of a factory gets its validator here
    validator = getattr(catalog, "validator_specs", {}).get(name)
    catalog[name] = dataset
    if validator:
        catalog._validator_specs[name] = validator


def _refuse_what_a_hook_keeps(catalog: Any, name: str) -> None:
    there = catalog.get(name)
    if there is not None and not isinstance(there, _IN_MEMORY):
        raise DatasetError(
            f"Dataset '{name}' has a place that only a hook has given it ({type(there).__name__}), so the job does not "
            "know of it, and hands the data to other steps as an artifact. Add it to catalog.yml."
        )
