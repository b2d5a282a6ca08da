"""Upload raw data and code from this machine to the bucket, below a hash, so that nothing is uploaded twice."""

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from glob import has_magic
from pathlib import Path
from typing import Any

import fsspec
import yaml
from fsspec.callbacks import Callback

from ..contract.places import base_of, files_at, is_local, sha256_of
from ..contract.uploaded import Code
from ..errors import UserError
from ..settings.models import UploadedData
from ..whole_file import write_whole

_MAX_AGE = timedelta(days=1)
# Questions to a bucket that are asked side by side; a job with a thousand datasets may be resumed.
_AT_ONCE = 16
_HEADER = """\
# The raw data that `kedro vertexai upload-data` has copied to the bucket. Commit this file. The command writes it.
"""


@dataclass(frozen=True)
class LocalData:
    """A file or folder on this machine, or all files that match a pattern."""

    path: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        """The files by name, relative to the parent folder, sorted; empty if there is nothing."""
        return {path.relative_to(self.base.parent).as_posix(): path for path in files_at(self.path)}

    @property
    def base(self) -> Path:
        """The file or folder; of a pattern, the folder that all its files are in."""
        return base_of(self.path)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(path.stat().st_size for path in self.files.values())

    @cached_property
    def sha256(self) -> str:
        """The hash of the file; of a folder, the hash of its files' relative paths and hashes."""
        return sha256_of(self.path)

    def is_what(self, uploaded: UploadedData) -> bool:
        """Whether this is what was uploaded. It is hashed only if the size is the same, because hashing takes time."""
        return (self.bytes, len(self.files)) == (uploaded.bytes, uploaded.files) and self.sha256 == uploaded.sha256


def require_bucket(root: str | None, where: str) -> str:
    """Return the pipeline root if data can be uploaded to it.

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
    """Copy a file or folder to the bucket, except for files that are there already with the same content.

    Args:
        data: the file or folder.
        root: pipeline root.
        advance: called with numbers of bytes, whose sum is ``data.bytes`` in the end.

    Returns:
        What to record, and how many files were sent.

    Raises:
        UserError: when the upload fails.
    """
    base = f"{_uploads_folder(root)}/{data.sha256}"
    with _explain_errors(data.path, base):
        fs, folder = fsspec.url_to_fs(base)
        existing = fs.find(folder, detail=True)
        sources = {f"{folder}/{name}": path for name, path in data.files.items()}
        unsent = {name: path for name, path in sources.items() if not _is_there(fs, existing.get(name), path)}
        advance(data.bytes - sum(path.stat().st_size for path in unsent.values()))
        if unsent:
            fs.put([str(path) for path in unsent.values()], list(unsent), callback=_Progress(advance))
    uri = f"{base}/{data.base.name}"
    return UploadedData(uri=uri, sha256=data.sha256, bytes=data.bytes, files=len(data.files)), len(unsent)


def _is_there(fs: Any, info: Mapping[str, Any] | None, path: Path) -> bool:
    """Whether what a file system says about a file in it is true of this file, too."""
    if info is None or info["size"] != path.stat().st_size:
        return False
    with path.open("rb") as file:
        return _get_md5(fs, info) == hashlib.file_digest(file, _new_md5).digest()


def _get_md5(fs: Any, info: Mapping[str, Any]) -> bytes:
    """Hash of a file's content. Cloud Storage knows it, except of objects that somebody has composed of others."""
    if encoded := info.get("md5Hash"):
        return base64.b64decode(encoded)
    with fs.open(info["name"], "rb") as file:
        return hashlib.file_digest(file, _new_md5).digest()


def _new_md5(data: bytes = b"") -> Any:
    # It finds what was spoiled. What a step reads is compared by SHA-256.
    return hashlib.md5(data, usedforsecurity=False)


def _uploads_folder(root: str) -> str:
    """Where the data of a pipeline root is kept: ``gs://b/project/env`` → ``gs://b/uploaded/project/env``.

    It is not below the root, because the bucket's rule deletes old objects there. A rule can only name the beginnings
    of the names that it deletes, and no exceptions.
    """
    protocol, _, path = root.rstrip("/").partition("://")
    bucket, _, folder = path.partition("/")
    return f"{protocol}://{bucket}/uploaded/{folder}".rstrip("/")


def upload_code(code: Code) -> bool:
    """Copy code to where the steps fetch it from, unless it is there already; returns whether it was sent.

    Code that is older than a day is sent again, because the bucket deletes old files, even if a job still needs them.

    Raises:
        UserError: when the upload fails.
    """
    with _explain_errors("The code", code.uri):
        fs, path = fsspec.url_to_fs(code.uri)
        info = fs.info(path) if fs.exists(path) else {}
        is_same = info.get("size") == len(code.archive) and _get_md5(fs, info) == _new_md5(code.archive).digest()
        if is_same and datetime.now(UTC) - fs.modified(path) < _MAX_AGE:
            return False
        with fsspec.open(code.uri, "wb", auto_mkdir=is_local(code.uri)) as file:
            file.write(code.archive)
        return True


@contextmanager
def _explain_errors(source: Path | str, uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the libraries for buckets have no common base class of errors
        raise UserError(
            f"{source} cannot be copied to {uri} ({type(error).__name__}: {error}). To upload, you need "
            "roles/storage.objectUser on the bucket. If the connection was lost, repeat the command: it sends what is "
            "missing."
        ) from None


def record(file: Path, uploaded: Mapping[str, UploadedData]) -> None:
    """Add what was uploaded to the record. The file is written whole or not at all.

    Args:
        file: ``conf/<env>/vertexai_data.yml``.
        uploaded: what was uploaded, by path as in the catalog.
    """
    existing = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}
    data = {**existing.get("data", {}), **{path: item.model_dump() for path, item in uploaded.items()}}
    write_whole(file, _HEADER + yaml.safe_dump({"data": data}, allow_unicode=True))


class _Progress(Callback):
    """Counts the bytes of many files that are sent in parallel."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        super().__init__()
        self._advance = advance

    def branched(self, path_1: Any, path_2: Any, **_kwargs: Any) -> Callback:
        return _File(self._advance, Path(path_1).stat().st_size)


class _File(Callback):
    """Counts the bytes of one file. A file that is sent in one piece reports nothing until it is closed."""

    def __init__(self, advance: Callable[[int], None], size: int) -> None:
        super().__init__(size)
        self._advance, self._bytes, self._reported = advance, size, 0

    def call(self, *_args: Any, **_kwargs: Any) -> None:
        sent = min(self.value, self._bytes)
        self._advance(sent - self._reported)
        self._reported = sent

    def close(self) -> None:
        self.absolute_update(self._bytes)


def missing(places: Iterable[str]) -> list[str]:
    """Return those of these paths and URIs that do not exist.

    Raises:
        UserError: when a file system cannot be reached.
    """
    names = list(places)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [name for name, exists in zip(names, pool.map(_exists, names), strict=True) if not exists]


def _exists(place: str) -> bool:
    try:
        fs, path = fsspec.url_to_fs(place)
        return bool(fs.exists(path) or (has_magic(path) and fs.glob(path)))
    except Exception as error:
        raise UserError(f"Cannot check whether {place} exists: {type(error).__name__}: {error}") from error
