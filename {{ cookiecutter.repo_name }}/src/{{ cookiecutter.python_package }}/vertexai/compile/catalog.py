"""``catalog.yml`` → where each dataset is kept between steps, and what it is in Vertex AI's lineage.

It is read as configuration: no dataset is made, so none of their libraries is imported.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kedro.io import CatalogConfigResolver, DatasetError

from ...errors import UserError, did_you_mean
from ..contract import is_local

# Artifact types: https://www.kubeflow.org/docs/components/pipelines/user-guides/data-handling/artifacts/
ARTIFACT_TYPES = ("Artifact", "Dataset", "Model", "Metrics", "ClassificationMetrics", "HTML", "Markdown")
_IN_MEMORY = ("MemoryDataset", "SharedMemoryDataset")
# Vertex AI mounts Cloud Storage there: https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system
_MOUNTS = ("/gcs/",)


@dataclass(frozen=True)
class Entry:
    """What the catalog says about a dataset.

    Args:
        type: its class, as the catalog names it: ``pandas.CSVDataset``.
        path: where it is kept; None if the catalog does not tell (a table, MLflow).
        persists: whether it is still there when the process has ended.
        artifact_type: what it is in lineage, ``system.Model``; None if nobody has said.
        metadata: what else lineage is told about it.
    """

    type: str
    path: str | None = None
    persists: bool = True
    artifact_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_local_disk(self) -> bool:
        """Whether another container would not find it."""
        return self.path is not None and is_local(self.path) and not self.path.startswith(_MOUNTS)

    @property
    def in_mlflow(self) -> bool:
        """Whether what is written also goes to the MLflow run."""
        return self.type.startswith("kedro_mlflow.")


class Catalog:
    """The datasets that the catalog has a place for.

    Args:
        config: content of ``catalog.yml``, as Kedro merged it.
        where: its file, for messages.

    Raises:
        UserError: when an entry is not one, or a dataset factory takes what its name has not.
    """

    def __init__(self, config: dict[str, Any], where: str) -> None:
        self._where = where
        # Credentials are read in the steps only. Here any name of them will do to know what the catalog has; the
        # dictionary is not empty because Kedro would then take it for none at all.
        any_credentials: dict[str, Any] = defaultdict(dict, {"": {}})
        try:
            self._resolver = CatalogConfigResolver(config, any_credentials, default_runtime_patterns={})
        except DatasetError as error:
            raise UserError(f"{where}: {' '.join(str(error).split())}") from None

    def entry(self, dataset: str) -> Entry | None:
        """What the catalog says about a dataset, by its name or by a dataset factory; None if it says nothing.

        Raises:
            UserError: when ``metadata.vertexai`` is not understood.
        """
        config = self._resolver.resolve_pattern(dataset)
        return self._entry(dataset, config) if config else None

    def written(self, dataset: str) -> tuple[str, dict[str, Any]] | None:
        """The entry of the file that is about a dataset, its own or a dataset factory: its name, and what it says."""
        own = dataset if dataset in self._resolver.config else None
        factory = self._resolver.match_dataset_pattern(dataset) or self._resolver.match_user_catch_all_pattern(dataset)
        name = own or factory
        return (name, self._resolver.resolve_pattern(dataset)) if name else None

    def _entry(self, dataset: str, config: Mapping[str, Any]) -> Entry:
        type_ = str(config.get("type", ""))
        inner = config.get("dataset")  # of a CachedDataset, a PartitionedDataset, an MlflowArtifactDataset
        around = self._entry(dataset, inner if isinstance(inner, Mapping) else {"type": inner}) if inner else None
        path = config.get("filepath") or config.get("path") or (around.path if around else None)
        artifact_type, metadata = self._lineage(dataset, config.get("metadata"))
        if "MetricDataset" in type_ or "Metrics" in type_:
            artifact_type = artifact_type or "system.Metrics"
        elif "Model" in type_:
            artifact_type = artifact_type or "system.Model"
        return Entry(
            type=type_,
            path=str(path) if path else None,
            persists=(around.persists or path is not None) if around else type_.rpartition(".")[2] not in _IN_MEMORY,
            artifact_type=artifact_type,
            metadata=metadata,
        )

    def _lineage(self, dataset: str, metadata: Any) -> tuple[str | None, Mapping[str, Any]]:
        """``metadata.vertexai`` of an entry: ``{type: Model, metadata: {…}}``"""
        said = metadata.get("vertexai") if isinstance(metadata, Mapping) else None
        if said is None:
            return None, {}
        where = f"{self._where}: {dataset}.metadata.vertexai"
        if not isinstance(said, Mapping):
            raise UserError(f"{where}: takes 'type' and 'metadata', got {said!r}.")
        for key in said:
            if key not in ("type", "metadata"):
                raise UserError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), ('type', 'metadata'))}")
        name = str(said.get("type", "Artifact")).removeprefix("system.")
        if name not in ARTIFACT_TYPES:
            raise UserError(f"{where}.type: there is no artifact type '{name}'.{did_you_mean(name, ARTIFACT_TYPES)}")
        return f"system.{name}", said.get("metadata") or {}
