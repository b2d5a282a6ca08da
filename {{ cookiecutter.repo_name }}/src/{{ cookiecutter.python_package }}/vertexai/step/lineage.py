"""What a step made → what Vertex AI's lineage and KFP's executor output are told of it."""

from collections.abc import Mapping
from typing import Any

from kedro.framework.hooks import hook_impl

from .artifact import ArtifactDataset


class Lineage:
    """Kedro hook that looks at the datasets as they are saved.

    Args:
        outputs: dataset → ``key`` of its artifact, ``uri`` if the catalog keeps it, and ``metadata`` known before.
        artifacts: dataset → where it is kept, if it travels between steps.
    """

    def __init__(self, outputs: Mapping[str, Mapping[str, Any]], artifacts: Mapping[str, ArtifactDataset]) -> None:
        self._outputs = outputs
        self._artifacts = artifacts
        self._found: dict[str, dict[str, Any]] = {}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Describe a dataset that has been saved; the last one, if a node saves it chunk by chunk."""
        if dataset_name in self._outputs:
            self._found[dataset_name] = describe(data)

    def executor_output(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The ``artifacts`` of KFP's ExecutorOutput.

        Args:
            given: the output artifacts of the step's executor input, by key.
        """
        artifacts = {}
        for dataset, output in self._outputs.items():
            (artifact,) = given[output["key"]]["artifacts"]
            metadata = {**output["metadata"], **self._found.get(dataset, {})}
            if dataset in self._artifacts and self._artifacts[dataset].bytes is not None:
                metadata["bytes"] = self._artifacts[dataset].bytes
            update = {"name": artifact["name"], "uri": output["uri"] or artifact["uri"], "metadata": metadata}
            artifacts[output["key"]] = {"artifacts": [update]}
        return artifacts


def describe(data: Any) -> dict[str, Any]:
    """Rows and columns of what has a shape; the numbers of a dictionary of metrics."""
    shape = getattr(data, "shape", None)
    if isinstance(shape, tuple) and all(isinstance(length, int) for length in shape):
        return dict(zip(("rows", "columns"), shape, strict=False))
    if isinstance(data, Mapping):
        values = {str(name): _last_value(value) for name, value in data.items()}
        return {name: value for name, value in values.items() if value is not None}
    value = _last_value(data)
    return {} if value is None else {"value": value}


def _last_value(metric: Any) -> float | None:
    """A metric's number; also as kedro-mlflow takes it: ``{"value": 0.9, "step": 1}``, or a list of them."""
    if isinstance(metric, list) and metric:
        return _last_value(metric[-1])
    if isinstance(metric, Mapping):
        return _last_value(metric.get("value"))
    return float(metric) if isinstance(metric, int | float) and not isinstance(metric, bool) else None
