"""Carries the files of catalog datasets between the disks of containers: fetched before a step, copied away after it.

The datasets know nothing of it: each is the object that Kedro makes from the catalog, and uses its own path.
"""

import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import fsspec
from kedro.io import DatasetError

from ..contract import SHARED_DISK_VARIABLE, is_local
from ..contract.arguments import StepArguments
from ..contract.catalog import Catalog, Entry
from ..contract.hashes import files_at, mismatch, sha256_of_all
from .io import StepIO

_LOG = logging.getLogger(__name__)


class Carrier:
    """The files that a step reads and writes.

    Args:
        args: the step's arguments; their ``files`` and ``raw`` are carried.
        catalog: what the configuration that the step runs with says about the datasets.
        io: the artifacts that the files are fetched from and copied to.
    """

    def __init__(self, args: StepArguments, catalog: Catalog, io: StepIO) -> None:
        files = [(name, key, catalog.entry(name) or Entry("MemoryDataset")) for name, key in args.files.items()]
        # An outer folder first: fetching it clears it.
        self._inputs = [
            (f"The uploaded {place}", [(place, io.uri(key))], io.sha256(key)) for place, key in sorted(args.raw.items())
        ]
        self._inputs += [
            (f"Dataset '{name}'", _places(entry, io.uri(key)), io.sha256(key))
            for name, key, entry in files
            if key in io.inputs
        ]
        self._outputs = [(name, key, entry, io.uri(key)) for name, key, entry in files if key in io.outputs]
        # On a shared disk, the next steps find the files where this step wrote them. A copy would be in their way.
        self._is_shared = bool(os.environ.get(SHARED_DISK_VARIABLE))

    def fetch(self) -> None:
        """Copy the step's inputs to the paths where its datasets look for them.

        Raises:
            DatasetError: when an artifact does not exist, or does not match its recorded SHA-256.
        """
        if self._is_shared:
            return
        for subject, places, recorded_sha256 in self._inputs:
            for place, uri in places:
                _fetch(subject, uri, place)
            sha256 = sha256_of_all(place for place, _uri in places)
            if sha256 != recorded_sha256:
                raise DatasetError(mismatch(f"{subject}, fetched from {places[0][1]},", sha256, recorded_sha256))

    def put(self) -> dict[str, dict[str, Any]]:
        """Copy the step's outputs to the artifacts' URIs; each attempt to a folder of its own.

        Returns:
            Artifact key → its ``uri`` and ``metadata``.

        Raises:
            DatasetError: when there is nothing at the path of a dataset.
        """
        attempt = uuid.uuid4().hex[:8]
        updates = {}
        for dataset, key, entry, uri in self._outputs:
            first, total, count = entry.places[0], 0, 0
            home = f"{uri.rstrip('/')}/{attempt}"
            if self._is_shared:
                home = Path(first).expanduser().resolve().as_uri()
            elif len(entry.places) == 1:
                home += f"/{Path(first).name}"
            for place, target in _places(entry, home):
                paths = files_at(Path(place).expanduser())
                if not paths and not entry.may_be_empty:
                    raise DatasetError(
                        f"Dataset '{dataset}' ({entry.type}) was saved, but there is nothing at {place}. If a hook or "
                        "its class writes elsewhere, name the files and folders to carry in its catalog entry: "
                        "metadata.vertexai.paths."
                    )
                total, count = total + sum(path.stat().st_size for path in paths), count + len(paths)
                if not self._is_shared:
                    _put(paths, Path(place).expanduser(), target)
                    _LOG.info("Carried %s (%d files, %s) to %s", place, len(paths), _readable(total), target)
            metadata = {"path": first, "class": entry.type, "bytes": total, "files": count}
            # On a shared disk, nothing is fetched by the hash, and hashing takes time.
            hashes = {} if self._is_shared else {"sha256": sha256_of_all(entry.places)}
            updates[key] = {"uri": home, "metadata": {**hashes, **metadata}}
        return updates


def _places(entry: Entry, home: str) -> list[tuple[str, str]]:
    """The places of a dataset, each with its URI: the artifact's own, or one below it if there are several."""
    if len(entry.places) == 1:
        return [(entry.places[0], home)]
    return [(place, f"{home}/{number}/{Path(place).name}") for number, place in enumerate(entry.places)]


def _fetch(subject: str, uri: str, place: str) -> None:
    """Copy a file or folder from a URI to a place, which is cleared first."""
    fs, root = fsspec.url_to_fs(uri)
    files = fs.find(root, detail=True)
    top = Path(place).expanduser()
    if top.is_dir():
        shutil.rmtree(top)
    top.unlink(missing_ok=True)
    if not files:
        raise DatasetError(f"{subject} cannot be fetched: there is nothing at {uri}.")
    if intruders := [name for name in files if ".." in Path(name).parts]:
        raise DatasetError(f"{subject} has a file that would be fetched to another folder: {intruders[0]}")
    targets = [top if name == root else top / Path(name).relative_to(root) for name in files]
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    # Lists of files are faster than one file at a time, and leave no doubt whether a target is a file or a folder.
    fs.get(list(files), [str(target) for target in targets])
    size = sum(int(info["size"]) for info in files.values())
    _LOG.info("Fetched %s (%d files, %s) from %s", place, len(files), _readable(size), uri)


def _put(paths: list[Path], place: Path, target: str) -> None:
    fs, root = fsspec.url_to_fs(target)
    targets = [root if path == place else f"{root}/{path.relative_to(place).as_posix()}" for path in paths]
    if is_local(target):
        for folder in {Path(name).parent for name in targets}:
            folder.mkdir(parents=True, exist_ok=True)
    fs.put([str(path) for path in paths], targets)


def _readable(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
