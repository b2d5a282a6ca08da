"""Which datasets may share files, found by their places without comparing every two of them."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

from ..contract.places import literal_part, overlap


class PlaceIndex:
    """Datasets by the places where they are made; places may be patterns, and URLs."""

    def __init__(self) -> None:
        # Each is found at the beginning of its place that has no wildcard, and at every folder around that.
        self._at: dict[PurePosixPath, list[tuple[str, str]]] = defaultdict(list)
        self._below: dict[PurePosixPath, list[tuple[str, str]]] = defaultdict(list)

    def add(self, place: str, dataset: str) -> None:
        """Note that a dataset is made there."""
        beginning = literal_part(place)
        self._at[beginning].append((place, dataset))
        for folder in beginning.parents:
            self._below[folder].append((place, dataset))

    def find(self, place: str) -> Iterator[str]:
        """The datasets that are made at a place, inside of it, or around it."""
        beginning = literal_part(place)
        for folder in (beginning, *beginning.parents):
            yield from (dataset for other, dataset in self._at.get(folder, ()) if overlap(place, other))
        yield from (dataset for other, dataset in self._below.get(beginning, ()) if overlap(place, other))
