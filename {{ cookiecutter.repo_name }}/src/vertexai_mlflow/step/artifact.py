"""A dataset at the URI of a step's artifact: any object, on any file system that fsspec knows.

The object is pickled. On its way to another machine it is compressed by zstd, which is several times faster than a
network. The file itself says how it was written, so it can be read wherever it has been copied to. Reading a pickle
runs the code in it, so a step reads only the file that an earlier step wrote: the artifact's metadata has its SHA-256.
"""

import contextlib
import hashlib
import pickle
import shutil
from collections.abc import Iterable
from tempfile import TemporaryFile
from typing import Any

import fsspec
from kedro.io import AbstractDataset, DatasetError

from ..contract.places import is_local, mismatch
from .file_references import FileReferences, WatchedFile

# Large buffers (NumPy, Arrow) are written without a copy: https://peps.python.org/pep-0574/
_PROTOCOL = 5
_CODEC = "zstd"
# A zstd frame begins with these bytes; a pickle never does. https://www.rfc-editor.org/rfc/rfc8878#name-zstandard-frames
_ZSTD = b"\x28\xb5\x2f\xfd"


class ArtifactDataset(AbstractDataset[Any, Any]):
    """Carries an object from the step that makes it to the steps that read it.

    Args:
        uri: where the file is, as the platform says: ``gs://…``, ``file://…``, ``memory://…`` or a path.
        sha256: the expected hash of the file in hexadecimal; None if this step makes the file.
        places: files and folders that only this step has on its disk; an object that reads them later is refused.

    Attributes:
        file_metadata: SHA-256 and number of bytes of the file that was saved; empty until then.
        unserialisable_type: type of an object that could not be serialised; None if there was none.
    """

    def __init__(self, uri: str, sha256: str | None = None, places: Iterable[str] = ()) -> None:
        self._uri = uri
        self._places = tuple(places)
        self._sha256 = sha256
        self._fs, self._path = fsspec.url_to_fs(uri)
        self.file_metadata: dict[str, Any] = {}
        self.unserialisable_type: str | None = None

    def load(self) -> Any:
        """Read the object back.

        Raises:
            DatasetError: when the file does not exist, does not match its SHA-256, or cannot be read (Kedro wraps the
                error).
        """
        with self._fs.open(self._path, "rb") as source, TemporaryFile() as copy:
            file = source if is_local(self._uri) else copy
            if file is copy:  # the file in the bucket may be replaced after its hash was computed
                shutil.copyfileobj(source, copy, 2**20)
                copy.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if self._sha256 not in (None, sha256):
                raise DatasetError(mismatch(self._uri, sha256, self._sha256))
            file.seek(0)
            magic_number = file.read(len(_ZSTD))
            file.seek(0)
            if magic_number != _ZSTD:
                return pickle.load(file)
            from pyarrow import CompressedInputStream

            with CompressedInputStream(file, _CODEC) as stream:
                return pickle.load(stream)

    def save(self, data: Any) -> None:
        """Write the object, whole or not at all: a killed step leaves nothing under the artifact's name.

        Raises:
            DatasetError: when the object cannot be serialised or written (Kedro wraps the error), or would look for a
                file that the step which takes it does not have.
        """
        partial, sha256 = f"{self._path}.partial", hashlib.sha256()
        if is_local(self._uri):  # a bucket has no folders, and to ask for one may be forbidden
            self._fs.makedirs(self._fs._parent(self._path), exist_ok=True)
        try:
            with self._fs.open(partial, "wb") as file:
                self._write(data, WatchedFile(file, sha256.update))
            self._sha256 = sha256.hexdigest()
            self.file_metadata = {"sha256": self._sha256, "bytes": self._fs.size(partial)}
            self._fs.mv(partial, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.rm(partial)
            raise

    def _write(self, data: Any, file: Any) -> None:
        references = FileReferences(self._places)
        try:
            if is_local(self._uri):
                references.dump(data, file, _PROTOCOL)
            else:
                from pyarrow import CompressedOutputStream

                with CompressedOutputStream(file, _CODEC) as stream:
                    references.dump(data, stream, _PROTOCOL)
        except OSError:
            raise
        except Exception:  # a library may raise anything when it cannot pickle an object
            self.unserialisable_type = type(data).__name__
            raise
        references.refuse_lazy_objects(type(data).__name__)

    def _exists(self) -> bool:
        return bool(self._fs.exists(self._path))

    def _describe(self) -> dict[str, Any]:
        return {"uri": self._uri}
