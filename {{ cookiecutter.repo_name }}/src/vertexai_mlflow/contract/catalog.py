"""``catalog.yml`` → where each dataset is kept, and what it is in Vertex AI's lineage. Launcher and step read it alike.

No dataset is made, because some connect to a server when they are. What a dataset is, its class says: a class of Kedro,
kedro-datasets or kedro-mlflow is known by its name; any other class is imported and looked at.
"""

import os.path
import pkgutil
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from glob import has_magic
from inspect import signature
from pathlib import PurePath
from typing import Any, Literal

import kedro_datasets
from kedro.io import CatalogConfigResolver, DatasetError, MemoryDataset
from kedro.io.core import parse_dataset_definition
from kedro.io.shared_memory_dataset import SharedMemoryDataset

from ..errors import UserError, did_you_mean
from .params import leaves
from .places import MOUNT, is_local

# Artifact types: https://www.kubeflow.org/docs/components/pipelines/user-guides/data-handling/artifacts/
ARTIFACT_TYPES = ("Artifact", "Dataset", "Model", "Metrics", "ClassificationMetrics", "HTML", "Markdown")
# Datasets whose data is gone when the process ends.
_IN_MEMORY = (MemoryDataset, SharedMemoryDataset)
# Packages whose classes are known by name.
_KNOWN_PACKAGES = ("kedro", "kedro_datasets", "kedro_mlflow")
# Databases that are a file on the disk of whoever opens them, or nothing but memory.
_FILE_DATABASE = re.compile(r"(?:sqlite|duckdb)(?:\+\w+)?:(.*)")
# Backends of ibis that keep tables in the memory of the process.
_MEMORY_BACKENDS = ("polars", "datafusion", "pandas", "dask")
# The last word in the name of an argument by which a class of somebody's own is told where its data is.
_PLACE_WORDS = ("path", "filepath", "file", "filename", "folder", "dir", "directory")
# Modules of kedro-datasets whose classes open the file at their filepath, and fail if there is none.
_FILE_MODULES = ("json.", "matlab.", "pandas.", "pickle.", "pillow.", "text.", "yaml.")
_IN_METADATA = ("type", "metadata", "paths")

# Where the data of a dataset is when a process has ended, which decides how it gets from step to step:
#   memory     nowhere: the object is handed on
#   process    nowhere, and the object cannot be handed on: a table in memory, a file of a file system in memory
#   disk       in files on local disk
#   database   in a database that is a file on local disk
#   model      in the MLflow run, at an address that only the process knows which has saved it
#   remote     at a URL
#   elsewhere  where only its class knows: in a table, in MLflow, behind an API
Storage = Literal["memory", "process", "disk", "database", "model", "remote", "elsewhere"]


@dataclass(frozen=True)
class Entry:
    """What the catalog says about a dataset.

    Args:
        type: its class, as the catalog names it: ``pandas.CSVDataset``.
        path: where it is kept; None if the catalog does not tell (a table, MLflow).
        paths: other files and folders that belong to it, by ``metadata.vertexai.paths``.
        database: the address of a database that is a file or in memory; None if it is not in one.
        table: the table that it is; None if it is none.
        persists: whether it is still there when the process has ended.
        bases: its class and the classes that this inherits from, by their full names, if the class was looked at.
        is_known: whether its class could be imported, or is known by name.
        is_versioned: whether each save makes a new version.
        config: the entry, with its placeholders filled in.
        artifact_type: what it is in lineage, ``system.Model``; None if nobody has said.
        metadata: what else lineage is told about it.
    """

    type: str
    path: str | None = None
    paths: tuple[str, ...] = ()
    database: str | None = None
    table: str | None = None
    persists: bool = True
    bases: tuple[str, ...] = ()
    is_known: bool = True
    is_versioned: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    artifact_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def storage(self) -> Storage:
        """Where its data is when a process has ended."""
        if not self.persists:
            return "memory"
        if _is_in_memory(self.path or "") or _is_in_memory(self.database or ""):
            return "process"
        if self._is_a("MlflowModelTrackingDataset"):
            return "model"
        if self.places:
            return "disk"
        if self.database:
            return "database"
        return "remote" if self.path else "elsewhere"

    @property
    def places(self) -> tuple[str, ...]:
        """Its files and folders on local disk, normalised, so that two spellings of one place are equal."""
        is_on_disk = self.path and is_local(self.path) and not self.path.startswith(MOUNT)
        paths = [*([self.path] if self.path and is_on_disk else []), *self.paths]
        return tuple(os.path.normpath(path.removeprefix("file://")) for path in paths)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it is, by which one tells that two names mean the same data."""
        return self.places or tuple(filter(None, [self.path or self.table]))

    @property
    def is_one_file(self) -> bool:
        """Whether it is one file on local disk that must be there to be loaded, as far as its entry tells for sure."""
        is_plain = self.type.removeprefix("kedro_datasets.").startswith(_FILE_MODULES) and not self.is_own_class
        is_named = isinstance(self.config.get("filepath"), str) and not has_magic(str(self.path))
        return (
            is_plain and is_named and self.storage == "disk" and not self.is_versioned and "fs_args" not in self.config
        )

    @property
    def has_value(self) -> bool:
        """Whether its value is in the catalog itself, so that every step has it."""
        return not self.persists and "data" in self.config

    @property
    def is_own_class(self) -> bool:
        """Whether its class is the project's or another package's, and was looked at."""
        return bool(self.bases)

    @property
    def in_mlflow(self) -> bool:
        """Whether what is written also goes to the MLflow run."""
        return any(name.startswith("kedro_mlflow.") for name in (self.type, *self.bases))

    @property
    def in_named_database(self) -> bool:
        """Whether it is a table that is reached with named credentials, which only the steps read."""
        return "SQL" in self.type and self.config.get("credentials") == {}

    def _is_a(self, class_name: str) -> bool:
        return any(name.rpartition(".")[2] == class_name for name in (self.type, *self.bases))


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
        self._entries: dict[str, Entry | None] = {}

    def entry(self, dataset: str) -> Entry | None:
        """What the catalog says about a dataset, by its name or by a dataset factory; None if it says nothing.

        Raises:
            UserError: when ``metadata.vertexai`` is not understood.
        """
        if dataset not in self._entries:
            config = self._resolver.resolve_pattern(dataset)
            self._entries[dataset] = self._entry(dataset, config) if config else None
        return self._entries[dataset]

    def written(self, dataset: str) -> tuple[str, dict[str, Any]] | None:
        """The entry of the file that is about a dataset, its own or a dataset factory: its name, and what it says."""
        name = dataset if dataset in self._resolver.config else self._resolver.match_dataset_pattern(dataset)
        name = name or self._resolver.match_user_catch_all_pattern(dataset)
        return (name, self._resolver.resolve_pattern(dataset)) if name else None

    def class_of(self, dataset: str) -> type | None:
        """The class of a dataset, if it can be imported and is not known by name."""
        type_ = str(self._resolver.resolve_pattern(dataset).get("type", ""))
        return None if _is_known_by_name(type_) else _class_of(type_)

    def _entry(self, dataset: str, config: Mapping[str, Any]) -> Entry:
        type_ = str(config.get("type", ""))
        inner = config.get("dataset")  # of a CachedDataset, a PartitionedDataset, an MlflowArtifactDataset
        wrapped = self._entry(dataset, inner if isinstance(inner, Mapping) else {"type": inner}) if inner else None
        path = config.get("filepath") or config.get("path") or (wrapped.path if wrapped else None)
        is_known_by_name = _is_known_by_name(type_)
        class_ = None if is_known_by_name else _class_of(type_)
        if class_:
            path = path or _place_argument(class_, config)
            in_memory = issubclass(class_, _IN_MEMORY)
        else:
            in_memory = type_.rpartition(".")[2] in [memory.__name__ for memory in _IN_MEMORY]
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
            table=_table(config),
            persists=(wrapped.persists or path is not None) if wrapped else not in_memory,
            bases=tuple(f"{base.__module__}.{base.__qualname__}" for base in class_.__mro__) if class_ else (),
            is_known=bool(is_known_by_name or class_),
            is_versioned=bool(config.get("versioned")),
            config=config,
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


@cache
def _is_known_by_name(type_: str) -> bool:
    """Whether a class is one of Kedro, kedro-datasets or kedro-mlflow, as Kedro looks for it."""
    package = type_.partition(".")[0]
    return "." not in type_ or package in (*_KNOWN_PACKAGES, *_modules_of_kedro_datasets())


@cache
def _modules_of_kedro_datasets() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(kedro_datasets.__path__))


@cache
def _class_of(type_: str) -> type | None:
    """The class of an entry, as Kedro finds it; None if it cannot be imported."""
    try:
        return parse_dataset_definition({"type": type_})[0]
    except Exception:  # importing runs any code; doctor names the error
        return None


def _place_argument(class_: type, config: Mapping[str, Any]) -> str | None:
    """Where the data of somebody's own class is, by the name of an argument: ``folder``, ``model_path``."""
    try:
        parameters = signature(class_).parameters.values()
    except (TypeError, ValueError):  # a class of another language has no signature
        return None
    for parameter in parameters:
        value = config.get(parameter.name, parameter.default)
        if parameter.name.rpartition("_")[2] in _PLACE_WORDS and isinstance(value, str | PurePath) and str(value):
            return str(value)
    return None


def _database(config: Mapping[str, Any]) -> str | None:
    """The address of an entry's database, wherever the entry names it: ``connection``, ``con``, ``credentials``."""
    connection = config.get("connection")
    if isinstance(connection, Mapping):
        backend = str(connection.get("backend"))
        if backend in ("duckdb", "sqlite"):
            return str(connection.get("database") or ":memory:")
        if backend in _MEMORY_BACKENDS:
            return ":memory:"
    texts = (text for name, text in leaves(config) if isinstance(text, str) and "metadata" not in name.split("."))
    return next((text for text in texts if _FILE_DATABASE.match(text)), None)


def _table(config: Mapping[str, Any]) -> str | None:
    """The table that an entry is, with the database that it names."""
    if not isinstance(table := config.get("table_name"), str):
        return None
    database = [config.get(key) for key in ("connection", "con", "credentials", "database", "schema", "load_args")]
    # Brackets would look like a pattern of paths.
    return "table:" + f"{database}/{table}".translate(str.maketrans("[]*?", "()--"))


def _is_in_memory(address: str) -> bool:
    """Whether a path or the address of a database means the memory of the process."""
    if address == ":memory:" or address.startswith("memory:"):
        return True
    database = _FILE_DATABASE.match(address)
    file = database[1] if database else "a file"
    return not file.strip("/") or ":memory:" in file or "mode=memory" in file
