"""A dataset that lives at the URI of a step's artifact: any object, any file system that fsspec knows."""

import contextlib
import pickle
from typing import Any

import cloudpickle
import fsspec
from kedro.io import AbstractDataset

# Large buffers (NumPy, Arrow) are written without a copy: https://peps.python.org/pep-0574/
_PROTOCOL = 5


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
        self.bytes: int | None = None
        self.refused: str | None = None

    def load(self) -> Any:
        """Read the object back.

        Raises:
            DatasetError: when it is not there or cannot be read (Kedro wraps what went wrong).
        """
        with self._fs.open(self._path, "rb") as file:
            return pickle.load(file)

    def save(self, data: Any) -> None:
        """Write the object, whole or not at all: a killed step leaves nothing under the artifact's name.

        Raises:
            DatasetError: when it cannot be serialised or written (Kedro wraps what went wrong).
        """
        partial = f"{self._path}.partial"
        self._fs.makedirs(self._fs._parent(self._path), exist_ok=True)
        try:
            with self._fs.open(partial, "wb") as file:
                try:
                    cloudpickle.dump(data, file, protocol=_PROTOCOL)
                except (pickle.PicklingError, TypeError, AttributeError, RecursionError):
                    self.refused = type(data).__name__
                    raise
                self.bytes = file.tell()
            self._fs.mv(partial, self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                self._fs.rm(partial)
            raise

    def _exists(self) -> bool:
        return bool(self._fs.exists(self._path))

    def _describe(self) -> dict[str, Any]:
        return {"uri": self._uri}
