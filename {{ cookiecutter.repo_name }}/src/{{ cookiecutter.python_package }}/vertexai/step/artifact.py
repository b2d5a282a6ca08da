"""A dataset that lives at the URI of a step's artifact: any object, any file system that fsspec knows.

A pickle; on its way to another machine compressed by zstd, which is several times faster than a network.
"""

import contextlib
import pickle
from typing import Any

import cloudpickle
import fsspec
from fsspec.utils import get_protocol
from kedro.io import AbstractDataset

# Large buffers (NumPy, Arrow) are written without a copy: https://peps.python.org/pep-0574/
_PROTOCOL = 5
_CODEC = "zstd"


class ArtifactDataset(AbstractDataset[Any, Any]):
    """Carries what one step made to the steps that take it.

    Args:
        uri: where, as the platform gave it: ``gs://…``, ``file://…``, ``memory://…`` or a path.

    Attributes:
        bytes: how many were written; None until then.
        refused: type of an object that could not be serialised; None if there was none.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._fs, self._path = fsspec.url_to_fs(uri)
        self._is_local = get_protocol(uri) == "file"
        self.bytes: int | None = None
        self.refused: str | None = None

    def load(self) -> Any:
        """Read the object back.

        Raises:
            DatasetError: when it is not there or cannot be read (Kedro wraps what went wrong).
        """
        with self._fs.open(self._path, "rb") as file:
            if self._is_local:
                return pickle.load(file)
            from pyarrow import CompressedInputStream

            with CompressedInputStream(file, _CODEC) as stream:
                return pickle.load(stream)

    def save(self, data: Any) -> None:
        """Write the object, whole or not at all: a killed step leaves nothing under the artifact's name.

        Raises:
            DatasetError: when it cannot be serialised or written (Kedro wraps what went wrong).
        """
        partial = f"{self._path}.partial"
        self._fs.makedirs(self._fs._parent(self._path), exist_ok=True)
        try:
            with self._fs.open(partial, "wb") as file:
                self._write(data, file)
            self.bytes = self._fs.size(partial)
            self._fs.mv(partial, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.rm(partial)
            raise

    def _write(self, data: Any, file: Any) -> None:
        try:
            if self._is_local:
                cloudpickle.dump(data, file, protocol=_PROTOCOL)
                return
            from pyarrow import CompressedOutputStream

            with CompressedOutputStream(file, _CODEC) as stream:
                cloudpickle.dump(data, stream, protocol=_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
            self.refused = type(data).__name__
            raise

    def _exists(self) -> bool:
        return bool(self._fs.exists(self._path))

    def _describe(self) -> dict[str, Any]:
        return {"uri": self._uri}
