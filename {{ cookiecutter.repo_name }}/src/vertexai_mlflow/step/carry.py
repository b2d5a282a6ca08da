"""Carries the files of catalog datasets between the disks of containers: fetched before a step, put after it.

The datasets themselves know nothing of it: each is the object that Kedro makes from the catalog, and reads and writes
its own path.
"""

import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
from kedro.io import DatasetError

from ..contract import SHARED_DISK_VARIABLE, is_local
from ..contract.arguments import StepArguments
from ..contract.catalog import Catalog, Entry
from ..contract.hashes import difference, files_at, sha256_of_all

_LOG = logging.getLogger(__name__)


class Carrier:
    """The files that a step takes and makes.

    Args:
        args: what the step is told: its ``files`` and ``raw`` are carried.
        catalog: what the configuration that the step runs with says about the datasets.
        taken: the step's input artifacts by key, as the executor input has them.
        made: its output artifacts by key, likewise.
    """

    def __init__(
        self, args: StepArguments, catalog: Catalog, taken: Mapping[str, Any], made: Mapping[str, Any]
    ) -> None:
        files = [(name, key, catalog.entry(name) or Entry("MemoryDataset")) for name, key in args.files.items()]
        # An outer folder first: fetching it clears it.
        self._taken = [
            (f"The uploaded {place}", [(place, _uri(taken[key]))], taken[key])
            for place, key in sorted(args.raw.items())
        ]
        self._taken += [
            (f"Dataset '{name}'", _places(entry, _uri(taken[key])), taken[key])
            for name, key, entry in files
            if key in taken
        ]
        self._made = [(name, key, entry, _uri(made[key])) for name, key, entry in files if key in made]
        # On one disk, what a step has written is there, and a copy would only get in the way of those who read it.
        self._shared = bool(os.environ.get(SHARED_DISK_VARIABLE))

    def fetch(self) -> None:
        """Bring what the step takes to the paths where its datasets look for it.

        Raises:
            DatasetError: when an artifact is not there, or is not what was made.
        """
        if self._shared:
            return
        for what, places, given in self._taken:
            for place, source in places:
                _fetch(what, source, place)
            found = sha256_of_all(place for place, _source in places)
            if found != (known := given["artifacts"][0].get("metadata", {}).get("sha256")):
                raise DatasetError(difference(f"{what}, fetched from {places[0][1]},", found, known))

    def put(self) -> dict[str, dict[str, Any]]:
        """Bring what the step has made to the artifacts' URIs; each attempt to a folder of its own.

        Returns:
            Artifact key → its ``uri`` and ``metadata``.

        Raises:
            DatasetError: when the step has left nothing where a dataset should be.
        """
        attempt = uuid.uuid4().hex[:8]
        updates = {}
        for dataset, key, entry, uri in self._made:
            first, total, count = entry.places[0], 0, 0
            home = f"{uri.rstrip('/')}/{attempt}"
            if self._shared:
                home = Path(first).expanduser().resolve().as_uri()
            elif len(entry.places) == 1:
                home += f"/{Path(first).name}"
            for place, target in _places(entry, home):
                paths = files_at(Path(place).expanduser())
                if not paths and not entry.may_be_empty:
                    raise DatasetError(
                        f"Dataset '{dataset}' ({entry.type}) was made, but there is nothing at {place}. If a hook or "
                        "its class writes elsewhere, name the files and folders to carry in its catalog entry: "
                        "metadata.vertexai.paths."
                    )
                total, count = total + sum(path.stat().st_size for path in paths), count + len(paths)
                if not self._shared:
                    _put(paths, Path(place).expanduser(), target)
                    _LOG.info("Carried %s (%d files, %s) to %s", place, len(paths), _readable(total), target)
            # On a shared disk, nothing is fetched by this hash, and hashing takes time.
            known = {} if self._shared else {"sha256": sha256_of_all(entry.places)}
            about = {"path": first, "class": entry.type, "bytes": total, "files": count}
            updates[key] = {"uri": home, "metadata": {**known, **about}}
        return updates


def _uri(given: Mapping[str, Any]) -> str:
    return str(given["artifacts"][0]["uri"])


def _places(entry: Entry, home: str) -> list[tuple[str, str]]:
    """The places of a dataset, each with its URI: the artifact's own, or one below it if there are several."""
    if len(entry.places) == 1:
        return [(entry.places[0], home)]
    return [(place, f"{home}/{number}/{Path(place).name}") for number, place in enumerate(entry.places)]


def _fetch(what: str, source: str, place: str) -> None:
    """Copy a file or folder from a URI to a place, which is cleared first."""
    fs, root = fsspec.url_to_fs(source)
    found = fs.find(root, detail=True)
    top = Path(place).expanduser()
    if top.is_dir():
        shutil.rmtree(top)
    top.unlink(missing_ok=True)
    if not found:
        raise DatasetError(f"{what} cannot be fetched: there is nothing at {source}.")
    if strange := [name for name in found if ".." in Path(name).parts]:
        raise DatasetError(f"{what} has a file that would be fetched to another folder: {strange[0]}")
    targets = [top if name == root else top / Path(name).relative_to(root) for name in found]
    for folder in {target.parent for target in targets}:
        folder.mkdir(parents=True, exist_ok=True)
    # Lists of files: faster than one by one, and free of the rule that tells "into a folder" from "as a folder".
    fs.get(list(found), [str(target) for target in targets])
    size = sum(int(info["size"]) for info in found.values())
    _LOG.info("Fetched %s (%d files, %s) from %s", place, len(found), _readable(size), source)


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
