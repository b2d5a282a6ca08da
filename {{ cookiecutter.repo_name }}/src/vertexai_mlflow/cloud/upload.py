"""Raw data and code on this machine → the bucket, below a hash, so that what is there already is not sent again."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
import yaml
from fsspec.callbacks import Callback

from ..contract import is_local
from ..contract.hashes import files_at, sha256_of
from ..contract.uploaded import Code
from ..errors import UserError
from ..settings.models import UploadedData

_NEW = timedelta(days=1)
_HEADER = """\
# The raw data that `kedro vertexai upload-data` has copied to the bucket. Commit this file. The command writes it.
"""


@dataclass(frozen=True)
class LocalData:
    """A file or folder on this machine."""

    path: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """Name below the folder that this lies in → file, sorted; empty if there is nothing."""
        return {path.relative_to(self.path.parent).as_posix(): path for path in files_at(self.path)}

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    @cached_property
    def sha256(self) -> str:
        """The hash of the file; of a folder, the hash of its files' relative paths and hashes."""
        return sha256_of(self.path)

    def is_what(self, uploaded: UploadedData) -> bool:
        """Whether this is what was uploaded. Only what has the same size is hashed, because that takes time."""
        return (self.bytes, len(self.files)) == (uploaded.bytes, uploaded.files) and self.sha256 == uploaded.sha256


def require_bucket(root: str | None, where: str) -> str:
    """The pipeline root, if data can be uploaded to it.

    Args:
        root: ``run_config.root``.
        where: the file of the settings, for the message.

    Raises:
        UserError: when it is no bucket.
    """
    if not root or is_local(root):
        raise UserError(
            f"{where}: run_config.root names no bucket, so there is nowhere to upload data to. Use an environment that "
            "has one: kedro vertexai -e cloud upload-data"
        )
    return root


def upload(data: LocalData, root: str, advance: Callable[[int], None]) -> tuple[UploadedData, int]:
    """Copy a file or folder to the bucket, except for files that are there already with the same size.

    Args:
        data: the file or folder.
        root: pipeline root.
        advance: called with numbers of bytes, which are ``data.bytes`` in the end.

    Returns:
        What is to be recorded, and how many files were sent.

    Raises:
        UserError: when it is not all there.
    """
    base = f"{root.rstrip('/')}/data/{data.sha256}"
    with _copying(data.path, base):
        fs, folder = fsspec.url_to_fs(base)
        sizes = {name: info["size"] for name, info in fs.find(folder, detail=True).items()}
        wanted = {f"{folder}/{name}": path for name, path in data.files.items()}
        missing = {name: path for name, path in wanted.items() if sizes.get(name) != path.stat().st_size}
        advance(data.bytes - sum(path.stat().st_size for path in missing.values()))
        if missing:
            fs.put([str(path) for path in missing.values()], list(missing), callback=_Progress(advance))
    about = UploadedData(
        uri=f"{base}/{data.path.name}", sha256=data.sha256, bytes=data.bytes, files=len(data.files)
    )  # fmt: skip
    return about, len(missing)


def upload_code(code: Code) -> bool:
    """Copy code to where the steps fetch it from, unless it is there already; returns whether it was sent.

    What is older than a day is sent again, because the bucket deletes old files, also those that a job still needs.

    Raises:
        UserError: when it is not there.
    """
    with _copying("The code", code.uri):
        fs, path = fsspec.url_to_fs(code.uri)
        if fs.exists(path) and fs.size(path) == len(code.archive) and datetime.now(UTC) - fs.modified(path) < _NEW:
            return False
        with fsspec.open(code.uri, "wb") as file:
            file.write(code.archive)
        return True


@contextmanager
def _copying(what: Path | str, place: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the libraries for buckets have no base class for theirs
        raise UserError(
            f"{what} cannot be copied to {place} ({type(error).__name__}: {error}). Whoever uploads needs "
            "roles/storage.objectUser on the bucket. If the connection was lost, repeat the command: it sends what is "
            "missing."
        ) from None


def record(file: Path, uploaded: Mapping[str, UploadedData]) -> None:
    """Write down what was uploaded, beside what is recorded already; whole or not at all.

    Args:
        file: ``conf/<env>/vertexai_data.yml``.
        uploaded: path, as the catalog has it → what was uploaded.
    """
    before = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}
    data = {**before.get("data", {}), **{place: about.model_dump() for place, about in uploaded.items()}}
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(_HEADER + yaml.safe_dump({"data": data}, allow_unicode=True), encoding="utf-8")
    partial.replace(file)


class _Progress(Callback):
    """Counts the bytes of many files that are sent side by side."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._advance = advance

    def branched(self, path_1: Any, path_2: Any, **_kwargs: Any) -> Callback:
        return _File(self._advance, Path(path_1).stat().st_size)


class _File(Callback):
    """Counts the bytes of one file. A file that is sent in one piece says nothing until it is closed."""

    def __init__(self, advance: Callable[[int], None], size: int) -> None:
        super().__init__(size)
        self._advance, self._bytes, self._told = advance, size, 0

    def call(self, *_args: Any, **_kwargs: Any) -> None:
        now = min(self.value, self._bytes)
        self._advance(now - self._told)
        self._told = now

    def close(self) -> None:
        self.absolute_update(self._bytes)


def missing(places: Iterable[str]) -> list[str]:
    """Those of these paths and URIs at which there is nothing.

    Raises:
        UserError: when a file system cannot be asked.
    """
    found = []
    for place in places:
        try:
            fs, path = fsspec.url_to_fs(place)
            if not fs.exists(path):
                found.append(place)
        except Exception as error:
            raise UserError(f"{place} cannot be looked at: {type(error).__name__}: {error}") from error
    return found
