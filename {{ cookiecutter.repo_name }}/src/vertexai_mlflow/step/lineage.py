"""What a step made → what Vertex AI's lineage and KFP's executor output are told about it."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from kedro.framework.hooks import hook_impl

from ..contract import MAX_METADATA
from .artifact import ArtifactDataset

_LOG = logging.getLogger(__name__)


class Lineage:
    """Kedro hook that looks at the datasets as they are saved.

    Args:
        outputs: dataset → ``key`` of its artifact, ``uri`` if the catalog keeps it, ``metadata`` that is known before,
            and whether its ``numbers`` are metrics.
        artifacts: dataset → where it is kept, if it travels between steps.
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
        self._found: dict[str, dict[str, Any]] = {}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Describe a dataset that has been saved; the last part, if a node saves it in chunks."""
        if output := self._outputs.get(dataset_name):
            self._found[dataset_name] = numbers_of(data) if output["numbers"] else shape_of(data)

    def executor_output(
        self, given: Mapping[str, Any], carried: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """The ``artifacts`` of KFP's ExecutorOutput.

        Args:
            given: the output artifacts of the step's executor input, by key.
            carried: artifact key → ``uri`` and ``metadata`` of what went another way than as a pickle.
        """
        artifacts = {}
        for dataset, output in self._outputs.items():
            (artifact,) = given[output["key"]]["artifacts"]
            metadata = {**output["metadata"], **self._found.get(dataset, {})}
            other = (carried or {}).get(output["key"], {})
            made = self._artifacts[dataset].made if dataset in self._artifacts else {}
            needed = {**other.get("metadata", {}), **made, **self._maker}
            # What the next step needs comes first, as metadata is cut at its limit; a metric cannot replace it.
            metadata = {**needed, **metadata, **needed}
            uri = other.get("uri") or output["uri"] or artifact["uri"]
            update = {"name": artifact["name"], "uri": uri, "metadata": within_limit(metadata)}
            artifacts[output["key"]] = {"artifacts": [update]}
        return artifacts


def shape_of(data: Any) -> dict[str, int]:
    """Rows and columns of what has a shape, a DataFrame or an array; nothing of anything else."""
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
    """The first items of an artifact's metadata, as far as they fit, because the next task gets it as an argument.

    JSON has neither NaN nor infinity: such numbers are left out, and the log says so.
    """
    kept: dict[str, Any] = {}
    size = 0
    for name, value in metadata.items():
        try:
            size += len(json.dumps({name: value}, allow_nan=False)) + 2
        except ValueError:
            _LOG.warning("Vertex AI's lineage does not get '%s': %s, because JSON cannot write it.", name, value)
            continue
        if size > MAX_METADATA:
            break
        kept[name] = value
    return kept


def _last_value(metric: Any) -> float | None:
    """A metric's number; also as kedro-mlflow takes it: ``{"value": 0.9, "step": 1}``, or a list of them."""
    if isinstance(metric, list) and metric:
        return _last_value(metric[-1])
    if isinstance(metric, Mapping):
        return _last_value(metric.get("value"))
    return float(metric) if isinstance(metric, int | float) and not isinstance(metric, bool) else None
