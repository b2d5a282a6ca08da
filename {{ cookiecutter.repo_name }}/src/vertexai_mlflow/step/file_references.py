"""Files that an object refers to when it is pickled: a lazy one will look for them on a disk that does not have them.

A ``polars.LazyFrame``, a dask or ibis expression, or a function that loads a partition holds a path and reads it when
it is used. In ``kedro run`` that is the same disk. In another container the file is missing, or is an old one.
"""

import logging
import re
from collections.abc import Callable, Collection
from pathlib import PurePath
from typing import Any

import cloudpickle
from kedro.io import DatasetError

from ..contract.places import literal_part

_LOG = logging.getLogger(__name__)
# The methods by which lazy objects are asked for their data.
_COLLECTING = ("collect", "compute", "execute", "__dask_graph__")


class FileReferences:
    """Finds in a pickle the places that only this step has.

    Args:
        places: files and folders on this step's disk that others do not have; none on a disk that steps share.
    """

    def __init__(self, places: Collection[str]) -> None:
        texts = {str(literal_part(place)).removeprefix("~/"): place for place in places}
        needles = {text.encode(errors="surrogateescape"): place for text, place in texts.items() if text != "."}
        self._patterns = {place: re.compile(re.escape(needle)) for needle, place in needles.items()}
        self._longest = max(map(len, needles), default=0)
        self._tail = b""
        self._is_lazy = False
        self._found: set[str] = set()

    def dump(self, data: Any, file: Any, protocol: int) -> None:
        """Pickle an object into a file, and look at what is pickled."""
        if self._patterns:
            _Pickler(WatchedFile(file, self.read), protocol, self).dump(data)
        else:
            cloudpickle.dump(data, file, protocol=protocol)

    def refuse_lazy_objects(self, type_: str) -> None:
        """Refuse what has been pickled if it will read a file that the next step does not have.

        Args:
            type_: name of the object's type, for the message.

        Raises:
            DatasetError: naming the file, and what to do.
        """
        places = ", ".join(sorted(self._found))
        if self._found and self._is_lazy:
            raise DatasetError(
                f"This {type_} reads {places} when it is used, and the step that takes it does not have that file. Let "
                f"the node return the data itself (collect, compute, load), or let the node that uses it take the "
                f"dataset of {places}."
            )
        if self._found:
            _LOG.warning("A %s names %s, which the step that takes it does not have on its disk.", type_, places)

    def look_at(self, value: Any) -> None:
        """Note an object that is being pickled."""
        if isinstance(value, PurePath):
            self._search(str(value).encode(errors="surrogateescape"))
        elif not isinstance(value, type):
            self._is_lazy |= callable(value) or any(hasattr(type(value), name) for name in _COLLECTING)

    def read(self, data: Any) -> None:
        """Look for the places in a part of the pickle, which may end in the middle of one, and may be large."""
        part = memoryview(data).cast("B")
        self._search(part)
        self._search(self._tail + bytes(part[: self._longest]))
        self._tail = (self._tail + bytes(part[-self._longest :]))[-self._longest :]

    def _search(self, text: Any) -> None:
        self._found |= {place for place, pattern in self._patterns.items() if pattern.search(text)}


class _Pickler(cloudpickle.Pickler):
    """Shows each object that it pickles."""

    def __init__(self, file: Any, protocol: int, references: FileReferences) -> None:
        super().__init__(file, protocol)
        self._references = references

    def reducer_override(self, obj: Any) -> Any:
        self._references.look_at(obj)
        return super().reducer_override(obj)


class WatchedFile:
    """A file that is open for writing, and something that sees what is written to it."""

    def __init__(self, file: Any, watch: Callable[[Any], object]) -> None:
        self._file = file
        self._watch = watch

    def write(self, data: Any) -> int:
        self._watch(data)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
