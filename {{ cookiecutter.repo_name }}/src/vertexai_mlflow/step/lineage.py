"""The metadata of a step's outputs, for Vertex AI's lineage and KFP's executor output."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from kedro.framework.hooks import hook_impl

from ..contract.limits import MAX_METADATA
from .artifact import ArtifactDataset

_LOG = logging.getLogger(__name__)


class Lineage:
    """Kedro hook that describes the datasets as they are saved.

    Args:
        outputs: dataset → ``key`` of its artifact, ``uri`` if the catalog keeps it, ``metadata`` that is known before
            the step runs, and whether its ``numbers`` are metrics.
        artifacts: dataset → the dataset by which it travels between steps, if it does.
        maker: the ``job`` and the ``step`` that make the datasets.
    """

    def __init__(
        self,
        outputs: Mapping[str, Mapping[str, Any]],
        artifacts: Mapping[str, ArtifactDataset],
        maker: Mapping[str, str] | None = None,
    ) -> None:
        self._outputs = outputs
        self._artifacts = artifacts
        self._maker = maker or {}
        self._descriptions: dict[str, dict[str, Any]] = {}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Describe a dataset that has been saved; only its last chunk, if a node saves it in chunks."""
        if output := self._outputs.get(dataset_name):
            self._descriptions[dataset_name] = numbers_of(data) if output["numbers"] else shape_of(data)

    def executor_output(
        self, artifacts: Mapping[str, Mapping[str, Any]], updates: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """Make the ``artifacts`` of KFP's ExecutorOutput.

        Args:
            artifacts: the step's output artifacts by key, from its executor input.
            updates: artifact key → ``uri`` and ``metadata``, where the data did not travel as a pickle.
        """
        result = {}
        for dataset, output in self._outputs.items():
            key, artifact = output["key"], artifacts[output["key"]]
            update = (updates or {}).get(key, {})
            file_metadata = self._artifacts[dataset].file_metadata if dataset in self._artifacts else {}
            # The next step needs these. They come first, as metadata is cut at its limit, and nothing may replace them.
            needed = {**update.get("metadata", {}), **file_metadata, **self._maker}
            description = {**output["metadata"], **self._descriptions.get(dataset, {})}
            optional = {name: value for name, value in description.items() if name not in needed}
            uri = update.get("uri") or output["uri"] or artifact["uri"]
            metadata = within_limit({**needed, **optional})
            result[key] = {"artifacts": [{"name": artifact["name"], "uri": uri, "metadata": metadata}]}
        return result


def shape_of(data: Any) -> dict[str, int]:
    """Rows and columns of a DataFrame or an array; empty for anything else."""
    shape = getattr(data, "shape", None)
    if isinstance(shape, tuple) and all(isinstance(length, int) for length in shape):
        return dict(zip(("rows", "columns"), shape, strict=False))
    return {}


def numbers_of(metrics: Any) -> dict[str, float]:
    """The numbers of a dictionary of metrics, or a single one."""
    items = metrics.items() if isinstance(metrics, Mapping) else [("value", metrics)]
    values = {str(name): _last_value(value) for name, value in items}
    return {name: value for name, value in values.items() if value is not None}


def within_limit(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The first items of an artifact's metadata that fit, because the next task gets the metadata as an argument.

    JSON has neither NaN nor infinity. Such numbers are left out, and the log says so.
    """
    items: dict[str, Any] = {}
    size = 0
    for name, value in metadata.items():
        try:
            size += len(json.dumps({name: value}, allow_nan=False)) + 2
        except ValueError:
            _LOG.warning("Vertex AI's lineage does not get '%s': %s, because JSON cannot write it.", name, value)
            continue
        if size > MAX_METADATA:
            break
        items[name] = value
    return items


def _last_value(metric: Any) -> float | None:
    """A metric's number. kedro-mlflow also accepts ``{"value": 0.9, "step": 1}``, or a list of such dictionaries."""
    if isinstance(metric, list) and metric:
        return _last_value(metric[-1])
    if isinstance(metric, Mapping):
        return _last_value(metric.get("value"))
    return float(metric) if isinstance(metric, int | float) and not isinstance(metric, bool) else None
