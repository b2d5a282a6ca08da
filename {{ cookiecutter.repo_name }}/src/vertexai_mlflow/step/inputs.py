"""What a pipeline takes from outside, as datasets of its MLflow run: name, place, digest, rows if the data tells."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
import mlflow
from kedro.framework.hooks import hook_impl
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset

from ..contract.catalog import Entry
from ..errors import masked, shown
from .lineage import shape_of

_LOG = logging.getLogger(__name__)
# Bytes of a local file that are read for its digest. A larger one is known by size and time, like a file in a bucket.
_MAX_HASHED = 100 * 2**20
# MLflow's stores keep no more of a digest.
_MAX_DIGEST = 36


class InputLog:
    """Kedro hook that logs datasets as inputs of the active run when a node has loaded them.

    Args:
        entries: dataset → what the catalog says about it.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)

    @hook_impl
    def before_node_run(self, inputs: Mapping[str, Any]) -> None:
        """Log those that this node has loaded, each one once. A step does not fail because that cannot be written."""
        for name in self._entries.keys() & inputs.keys():
            entry = self._entries.pop(name)
            address = next(iter(entry.addresses), "")
            try:
                dataset = MetaDataset(_source(entry, address), name=name, digest=_digest(address))
                tags = {key: str(value) for key, value in shape_of(inputs[name]).items()}
                mlflow.log_input(dataset, context="input", tags=tags)
            except Exception as error:
                _LOG.warning("'%s' is not among the inputs of the MLflow run: %s", name, shown(str(error)))


def _source(entry: Entry, address: str) -> DatasetSource:
    """Where a dataset comes from. MLflow has no kind of source for what is reached by code only, as a table is."""
    if entry.storage in ("disk", "remote"):
        return resolve_dataset_source(masked(address))
    return CodeDatasetSource({"type": entry.type, "place": masked(address)})


def _digest(address: str) -> str | None:
    """A hash of a file; None where there is no single file, and MLflow makes one of name and source."""
    try:
        path = Path(address)
        if path.is_file() and path.stat().st_size <= _MAX_HASHED:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:_MAX_DIGEST]
        filesystem, place = fsspec.url_to_fs(address)
        return f"{filesystem.checksum(place):x}"[:_MAX_DIGEST] if address and filesystem.isfile(place) else None
    except (OSError, ValueError, ImportError, NotImplementedError):
        return None
