"""Carries the files of catalog datasets between the disks of containers: fetched before a step, copied away after it.

The datasets know nothing of it: each is the object that Kedro makes from the catalog, and uses its own path.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from kedro.io import DatasetError

from ..contract.arguments import StepArguments
from ..contract.catalog import Catalog, Entry
from ..contract.names import SHARED_DISK_VARIABLE
from ..contract.places import base_of, files_at, is_local, mismatch, sha256_of_all
from .io import StepIO

_LOG = logging.getLogger(__name__)


class Carrier:
    """The files that a step reads and writes.

    Args:
        args: the step's arguments; their ``files`` and ``raw`` are carried, and of their ``versions`` the version is.
        catalog: what the configuration that the step runs with says about the datasets.
        io: the artifacts that the files are fetched from and copied to.
    """

    def __init__(self, args: StepArguments, catalog: Catalog, io: StepIO) -> None:
        entries = {name: catalog.entry(name) or Entry("MemoryDataset") for name in {**args.versions, **args.files}}
        # An outer folder first: fetching it clears it.
        self._inputs = [
            _Input(f"The uploaded {place}", ((place, io.uri(key)),), io.sha256(key), False)
            for place, key in sorted(args.raw.items())
        ]
        self._inputs += [
            _Input(f"Dataset '{name}'", _places(entries[name], io.uri(key)), io.sha256(key), io.has_no_files(key))
            for name, key in args.files.items()
            if key in io.inputs
        ]
        self._outputs = [
            _Output(name, key, entries[name], io.uri(key), is_carried=name in args.files)
            for name, key in {**args.versions, **args.files}.items()
            if key in io.outputs
        ]
        # On a shared disk, the next steps find the files where this step wrote them. A copy would be in their way.
        self._is_shared = bool(os.environ.get(SHARED_DISK_VARIABLE))

    @property
    def own_places(self) -> list[str]:
        """The files and folders that no other step has on its disk; none on a disk that all steps share."""
        inputs = [place for item in self._inputs for place, _uri in item.places]
        outputs = [place for item in self._outputs if item.is_carried for place in item.entry.places]
        return [] if self._is_shared else [*inputs, *outputs]

    def fetch(self) -> None:
        """Copy the step's inputs to the paths where its datasets look for them.

        Raises:
            DatasetError: when an artifact does not exist, or does not match its recorded SHA-256.
        """
        if self._is_shared:
            return
        for item in self._inputs:
            for place, uri in item.places:
                _fetch(item, uri, place)
            sha256 = sha256_of_all(place for place, _uri in item.places)
            if sha256 != item.sha256:
                raise DatasetError(mismatch(f"{item.subject}, fetched from {item.places[0][1]},", sha256, item.sha256))

    def put(self, has_nothing: Callable[[str], bool], version: str) -> dict[str, dict[str, Any]]:
        """Copy the step's outputs to the artifacts' URIs; each attempt to a folder of its own.

        Args:
            has_nothing: whether Kedro finds nothing where a dataset is kept, as after a save of no partitions.
            version: version under which versioned datasets were saved.

        Returns:
            Artifact key → its ``uri`` and ``metadata``.

        Raises:
            DatasetError: when there is nothing at the path of a dataset, although Kedro finds something.
        """
        attempt = uuid.uuid4().hex[:8]
        return {item.key: self._put(item, has_nothing, version, attempt) for item in self._outputs}

    def _put(self, item: "_Output", has_nothing: Callable[[str], bool], version: str, attempt: str) -> dict[str, Any]:
        entry = item.entry
        versions = {"version": version} if entry.is_versioned else {}
        if not item.is_carried:
            return {"uri": _versioned(entry.path or item.uri, version), "metadata": versions}
        first, total, count = entry.places[0], 0, 0
        home = f"{item.uri.rstrip('/')}/{attempt}"
        if self._is_shared:
            local_path = Path(_versioned(first, version) if entry.is_versioned else first)
            home = local_path.expanduser().resolve().as_uri()
        elif len(entry.places) == 1:
            home += f"/{base_of(Path(first).expanduser()).name}"
        for place, target in _places(entry, home):
            path = Path(place).expanduser()
            paths = files_at(path)
            if not paths and not has_nothing(item.dataset):
                raise DatasetError(
                    f"Dataset '{item.dataset}' ({entry.type}) was saved, but there is nothing at {place}. If a hook or "
                    "its class writes elsewhere, name the files and folders to carry in its catalog entry: "
                    "metadata.vertexai.paths."
                )
            total, count = total + sum(path.stat().st_size for path in paths), count + len(paths)
            if not self._is_shared:
                _copy(paths, path, target)
                _LOG.info("Carried %s (%d files, %s) to %s", place, len(paths), _readable(total), target)
        metadata = {"path": first, "class": entry.type, "bytes": total, "files": count}
        # On a shared disk, nothing is fetched by the hash, and hashing takes time.
        hashes = {} if self._is_shared else {"sha256": sha256_of_all(entry.places)}
        return {"uri": home, "metadata": {**hashes, **versions, **metadata}}


@dataclass(frozen=True)
class _Input:
    """What a step fetches: each of its places with the URI, and the recorded hash."""

    subject: str
    places: Sequence[tuple[str, str]]
    sha256: str | None
    has_no_files: bool


@dataclass(frozen=True)
class _Output:
    """A dataset that a step hands on; one that is not carried by its version only."""

    dataset: str
    key: str
    entry: Entry
    uri: str
    is_carried: bool


def _places(entry: Entry, home: str) -> list[tuple[str, str]]:
    """The places of a dataset, each with its URI: the artifact's own, or one below it if there are several."""
    if len(entry.places) == 1:
        return [(entry.places[0], home)]
    return [(place, f"{home}/{number}/{base_of(place).name}") for number, place in enumerate(entry.places)]


def _versioned(path: str, version: str) -> str:
    """Where Kedro keeps a version of a dataset."""
    return f"{path}/{version}/{PurePosixPath(path).name}"


def _fetch(item: _Input, uri: str, place: str) -> None:
    """Copy a file or folder from a URI to a place, which is cleared first."""
    fs, root = fsspec.url_to_fs(uri)
    files = fs.find(root, detail=True)
    top = Path(place).expanduser()
    if PurePosixPath(root).name != top.name:  # the place is a pattern, and its files are below a folder
        for path in files_at(top):
            path.unlink()
        top = base_of(top)
    elif top.is_dir() and not top.is_symlink():
        shutil.rmtree(top)
    else:
        top.unlink(missing_ok=True)
    if not files and not item.has_no_files:
        raise DatasetError(f"{item.subject} cannot be fetched: there is nothing at {uri}.")
    if intruders := [name for name in files if ".." in Path(name).parts]:
        raise DatasetError(f"{item.subject} has a file that would be fetched to another folder: {intruders[0]}")
    targets = [top if name == root else top / Path(name).relative_to(root) for name in files]
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    # Lists of files are faster than one file at a time, and leave no doubt whether a target is a file or a folder.
    fs.get(list(files), [str(target) for target in targets])
    size = sum(int(info["size"]) for info in files.values())
    _LOG.info("Fetched %s (%d files, %s) from %s", place, len(files), _readable(size), uri)


def _copy(paths: list[Path], place: Path, target: str) -> None:
    fs, root = fsspec.url_to_fs(target)
    base = base_of(place)
    targets = [root if path == place else f"{root}/{path.relative_to(base).as_posix()}" for path in paths]
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
