"""``catalog.yml`` → where each dataset is kept, and what it is in Vertex AI's lineage. Launcher and step read it alike.

It is read as configuration: no dataset is made, so none of their libraries is imported.
"""

import os.path
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kedro.io import CatalogConfigResolver, DatasetError

from ..errors import UserError, did_you_mean
from . import is_local, leaves

# Artifact types: https://www.kubeflow.org/docs/components/pipelines/user-guides/data-handling/artifacts/
ARTIFACT_TYPES = ("Artifact", "Dataset", "Model", "Metrics", "ClassificationMetrics", "HTML", "Markdown")
_IN_MEMORY = ("MemoryDataset", "SharedMemoryDataset")
# Vertex AI mounts Cloud Storage there: https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system
_MOUNTS = ("/gcs/",)
# Databases that are a file on the disk of whoever opens them.
_FILE_DATABASES = ("sqlite:", "duckdb:")
_IN_METADATA = ("type", "metadata", "paths")


@dataclass(frozen=True)
class Entry:
    """What the catalog says about a dataset.

    Args:
        type: its class, as the catalog names it: ``pandas.CSVDataset``.
        path: where it is kept; None if the catalog does not tell (a table, MLflow).
        paths: other files and folders that belong to it, by ``metadata.vertexai.paths``.
        database: the file of a database that only the disk of one container has; None if it is not in one.
        in_database: whether it is a table that is reached with named credentials, which only the steps read.
        persists: whether it is still there when the process has ended.
        artifact_type: what it is in lineage, ``system.Model``; None if nobody has said.
        metadata: what else lineage is told about it.
    """

    type: str
    path: str | None = None
    paths: tuple[str, ...] = ()
    database: str | None = None
    in_database: bool = False
    persists: bool = True
    artifact_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_local_disk(self) -> bool:
        """Whether another container would not find it."""
        return self.path is not None and is_local(self.path) and not self.path.startswith(_MOUNTS)

    @property
    def places(self) -> tuple[str, ...]:
        """Its files and folders on local disk, normalised, so that two spellings of one place are equal."""
        paths = [*([self.path] if self.path and self.on_local_disk else []), *self.paths]
        return tuple(os.path.normpath(path.removeprefix("file://")) for path in paths)

    @property
    def may_be_empty(self) -> bool:
        """Whether nothing at its place means that it has no partitions."""
        return self.type.endswith(("PartitionedDataset", "IncrementalDataset"))

    @property
    def is_model(self) -> bool:
        """Whether kedro-mlflow keeps it in the run, and knows its address only in the process that saved it."""
        return self.type.endswith("MlflowModelTrackingDataset")

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
        UserError: when an entry is invalid, or a factory uses a placeholder that its name does not have.
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
        name = dataset if dataset in self._resolver.config else self._resolver.match_dataset_pattern(dataset)
        name = name or self._resolver.match_user_catch_all_pattern(dataset)
        return (name, self._resolver.resolve_pattern(dataset)) if name else None

    def _entry(self, dataset: str, config: Mapping[str, Any]) -> Entry:
        type_ = str(config.get("type", ""))
        inner = config.get("dataset")  # of a CachedDataset, a PartitionedDataset, an MlflowArtifactDataset
        wrapped = self._entry(dataset, inner if isinstance(inner, Mapping) else {"type": inner}) if inner else None
        path = config.get("filepath") or config.get("path") or (wrapped.path if wrapped else None)
        artifact_type, metadata, paths = self._metadata_of(dataset, config.get("metadata"))
        if "MetricDataset" in type_ or "Metrics" in type_:
            artifact_type = artifact_type or "system.Metrics"
        elif "Model" in type_:
            artifact_type = artifact_type or "system.Model"
        return Entry(
            type=type_,
            path=str(path) if path else None,
            paths=paths,
            database=_database(config) or (wrapped.database if wrapped else None),
            in_database="SQL" in type_ and config.get("credentials") == {},
            persists=(wrapped.persists or path is not None) if wrapped else type_.rpartition(".")[2] not in _IN_MEMORY,
            artifact_type=artifact_type,
            metadata=metadata,
        )

    def _metadata_of(self, dataset: str, metadata: Any) -> tuple[str | None, Mapping[str, Any], tuple[str, ...]]:
        """``metadata.vertexai`` of an entry: ``{type: Model, metadata: {…}, paths: […]}``"""
        about = metadata.get("vertexai") if isinstance(metadata, Mapping) else None
        if about is None:
            return None, {}, ()
        where = f"{self._where}: {dataset}.metadata.vertexai"
        if not isinstance(about, Mapping):
            raise UserError(f"{where}: takes 'type', 'metadata' and 'paths', got {about!r}.")
        for key in about:
            if key not in _IN_METADATA:
                raise UserError(f"{where}: unknown key '{key}'.{did_you_mean(str(key), _IN_METADATA)}")
        name = str(about.get("type", "Artifact")).removeprefix("system.")
        if name not in ARTIFACT_TYPES:
            raise UserError(f"{where}.type: there is no artifact type '{name}'.{did_you_mean(name, ARTIFACT_TYPES)}")
        artifact_type = f"system.{name}" if "type" in about or "metadata" in about else None
        return artifact_type, about.get("metadata") or {}, tuple(map(str, about.get("paths") or ()))


def _database(config: Mapping[str, Any]) -> str | None:
    """The file of an entry's database, wherever the entry names it: ``connection``, ``con``, ``credentials``."""
    connection = config.get("connection")
    if isinstance(connection, Mapping) and str(connection.get("backend")) in ("duckdb", "sqlite"):
        return str(connection.get("database") or ":memory:")
    texts = (text for name, text in leaves(config) if isinstance(text, str) and "metadata" not in name.split("."))
    return next((text for text in texts if text.startswith(_FILE_DATABASES)), None)
