"""Steps and catalog → what happens to each dataset: it travels as a pickle, its files are carried, or it stays put.

A dataset that the catalog does not keep travels as a pickle. One that the catalog keeps on local disk is carried: its
files go to the artifact's URI after the step that makes them, and to the same place before a step that takes them.
Artifacts belong to places, not to names: two datasets with one path are one artifact.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import PurePosixPath
from typing import Any, Literal

from ..contract import DATA_PREFIX, MAX_KEY, shortened
from ..contract.catalog import Entry
from ..settings.models import UploadedData
from ..settings.resources import Resources
from .raw import RawData, is_writable

# What the catalog says about a dataset; None if it has no place for it.
Lookup = Callable[[str], Entry | None]
Travels = Literal["pickle", "files", "model", ""]


@dataclass(frozen=True)
class Step:
    """One task of the pipeline job: some nodes that run in one container.

    Args:
        name: KFP task name.
        nodes: Kedro node names, in the order they run.
        inputs: datasets that the step loads and does not make itself.
        outputs: datasets that the step makes.
        after: names of the steps that must have succeeded before.
        resources: what it asks of the machine.
        cached: whether the result of an earlier run is taken if there is one.
        fingerprint: see ``fingerprint``.
    """

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    after: tuple[str, ...]
    resources: Resources
    cached: bool = False
    fingerprint: str = ""


@dataclass(frozen=True)
class Artifact:
    """A dataset as the platform knows it.

    Args:
        key: key of the KFP artifact.
        type: KFP artifact type, ``system.Dataset``.
        travels: how it gets from step to step: as a ``pickle``, by its ``files``, or as a ``model`` of the MLflow run.
            Empty if the catalog keeps it where every step finds it, and the artifact is only there for lineage.
        uri: where the catalog keeps it, if that is a URL.
        metadata: what lineage is told about it, besides what a step finds out.
    """

    key: str
    type: str = "system.Artifact"
    travels: Travels = "pickle"
    uri: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_metrics(self) -> bool:
        """Whether its numbers belong into lineage."""
        return self.type.endswith("Metrics")


def datasets_in(names: Iterable[str]) -> tuple[str, ...]:
    """The names without parameters, which every step has from the configuration; each once, in order."""
    return tuple(dict.fromkeys(name for name in names if name != "parameters" and not name.startswith("params:")))


def is_made_in(dataset: str, made: Iterable[str]) -> bool:
    """Whether a dataset is one of these, perhaps transcoded."""
    return dataset in made or ("@" in dataset and base_name(dataset) in map(base_name, made))


class Flow:
    """How data gets from step to step. Each dataset is looked at where it is made, and for each step that takes it.

    Args:
        steps: in an order in which they can run.
        lookup: what the catalog says about a dataset.
        at_exit: the datasets that ``on_exit_pipeline`` takes.
        uploaded: path → what was uploaded of it.

    Attributes:
        artifacts: dataset → the artifact that carries or describes it, by the name under which it is made.
        taken: name of a step → the artifacts that it takes, by those names.
        raw: files and folders that steps read and no earlier step makes.
        problems: what cannot work in the cloud, in whole sentences, each once.
        warnings: what may not be what the user wants, likewise.
    """

    def __init__(
        self, steps: Sequence[Step], lookup: Lookup, at_exit: Iterable[str], uploaded: Mapping[str, UploadedData]
    ) -> None:
        self._uploaded = uploaded
        self._lookup = lookup
        self._makers = {dataset: step for step in steps for dataset in step.outputs}
        # Place → the datasets that are made there, and those that are made below it.
        self._at: dict[PurePosixPath, list[str]] = defaultdict(list)
        self._below: dict[PurePosixPath, list[str]] = defaultdict(list)
        for dataset in self._makers:
            for place in map(PurePosixPath, self._entry(dataset).places):
                self._at[place].append(dataset)
                for parent in place.parents:
                    self._below[parent].append(dataset)
        # Step → those that come before it, a bit for each: a set for each would need too much memory.
        self._bit = {step.name: 1 << number for number, step in enumerate(steps)}
        self._before: dict[str, int] = {}
        for step in steps:
            self._before[step.name] = reduce(or_, (self._bit[name] | self._before[name] for name in step.after), 0)
        self._keys: set[str] = set()
        # Place → the steps and the datasets that read it.
        self._readers: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.artifacts: dict[str, Artifact] = {}
        self.problems: dict[str, None] = {}
        self.warnings: dict[str, None] = {}
        taken = {step.name: self._taken(step) for step in steps}
        consumed = {dataset for names in taken.values() for dataset in names}
        for dataset, maker in self._makers.items():
            self._make(dataset, maker, dataset in consumed)
        for dataset in at_exit:
            self._look_at_exit(dataset)
        self.taken = {name: tuple(one for one in names if one in self.artifacts) for name, names in taken.items()}
        self.raw = tuple(self._raw(place, readers) for place, readers in self._readers.items())

    def _entry(self, dataset: str) -> Entry:
        return self._lookup(dataset) or Entry("MemoryDataset", persists=False)

    def _taken(self, step: Step) -> tuple[str, ...]:
        """The datasets, by the names under which they are made, whose artifacts a step takes."""
        found: dict[str, None] = {}
        for dataset in step.inputs:
            entry = self._entry(dataset)
            if not entry.persists or entry.is_model:
                found[dataset] = None
            made_there = self._made_at(entry.places)
            earlier = [made for made in made_there if self._comes_before(self._makers[made], step)]
            found |= dict.fromkeys(earlier)
            if not any(self._makers[made] is step for made in made_there):
                for place in entry.places:
                    # Earlier steps may have added files to a folder of raw data.
                    added = place in self._uploaded and set(earlier) <= set(self._below[PurePosixPath(place)])
                    if not earlier or added:
                        self._readers[place].append((step.name, dataset))
            for made in made_there:
                maker = self._makers[made]
                if maker is not step and not self._comes_before(maker, step) and not self._comes_before(step, maker):
                    self.problems[
                        f"Step '{step.name}' reads dataset '{dataset}' at {entry.path}, and step '{maker.name}' writes "
                        f"'{made}' there, but neither waits for the other. Let a node of '{step.name}' take '{made}'."
                    ] = None
            self._look_at_database(dataset, entry, step)
        return tuple(found)

    def _comes_before(self, one: Step, other: Step) -> bool:
        return bool(self._before[other.name] & self._bit[one.name])

    def _made_at(self, places: Sequence[str]) -> list[str]:
        """The datasets that are made at these places, inside of them, or around them."""
        found: dict[str, None] = {}
        for place in map(PurePosixPath, places):
            for around in (place, *place.parents):
                found |= dict.fromkeys(self._at.get(around, ()))
            found |= dict.fromkeys(self._below.get(place, ()))
        return list(found)

    def _make(self, dataset: str, maker: Step, is_taken: bool) -> None:
        entry = self._entry(dataset)
        others = {self._makers[other].name for other in self._made_at(entry.places)} - {maker.name}
        if others:
            self.problems[
                f"Step '{maker.name}' writes dataset '{dataset}' to {entry.path}, where step '{min(others)}' writes as "
                "well. Give each its own path, or let both run in one step (run_config.grouping)."
            ] = None
        for place in entry.places:
            if not is_writable(place):
                self.problems[
                    f"Dataset '{dataset}' of step '{maker.name}' is written to {place}, but in its image a step can "
                    "only write below data/ and /tmp. Give it a path below data/."
                ] = None
        travels: Travels = ""
        if entry.places and (is_taken or not entry.in_mlflow):
            travels = "files"
        elif is_taken:
            travels = "model" if entry.is_model else "" if entry.persists else "pickle"
        if not travels and entry.artifact_type is None:
            return
        self.artifacts[dataset] = Artifact(
            key=self._key(dataset),
            type=entry.artifact_type or "system.Artifact",
            travels=travels,
            uri=entry.path if entry.persists and not entry.on_local_disk else None,
            metadata=entry.metadata,
        )

    def _raw(self, place: str, readers: Iterable[tuple[str, str]]) -> RawData:
        steps, datasets = (tuple(dict.fromkeys(names)) for names in zip(*readers, strict=True))
        types = [found for dataset in datasets if (found := self._entry(dataset).artifact_type)]
        uploaded = self._uploaded.get(place)
        raw = RawData(place, datasets, steps, self._key(place), (types or ["system.Dataset"])[0], uploaded)
        if uploaded and not raw.can_be_fetched:
            self.problems[
                f"Dataset '{datasets[0]}' was uploaded and would be fetched to {place}, but in its image a step can "
                "only write below data/ and /tmp. Give it a path below data/."
            ] = None
        return raw

    def _key(self, dataset: str) -> str:
        # Two names may become one key. Unlike task names, nobody reads keys, so a number tells them apart.
        key = base = shortened(DATA_PREFIX + re.sub(r"[^a-z0-9]+", "_", dataset.lower()).strip("_"), MAX_KEY)
        number = 1
        while key in self._keys:
            number += 1
            key = f"{base}_{number}"
        self._keys.add(key)
        return key

    def _look_at_exit(self, dataset: str) -> None:
        entry = self._entry(dataset)
        for made in self._made_at(entry.places):
            self.problems[
                f"on_exit_pipeline takes dataset '{dataset}' at {entry.path}, but only step "
                f"'{self._makers[made].name}' has it on its disk. Give it a remote path, gs://…"
            ] = None

    def _look_at_database(self, dataset: str, entry: Entry, step: Step) -> None:
        maker = self._makers.get(dataset)
        if entry.database and maker and maker.name != step.name:
            self.problems[
                f"Dataset '{dataset}' is made in step '{maker.name}' and taken in step '{step.name}', but the database "
                f"{entry.database} is a file on the disk of one container. Use a database server, or keep the table in "
                "a file (parquet), which is carried from step to step."
            ] = None
        elif entry.in_database and maker and maker.name != step.name:
            self.warnings[
                f"Dataset '{dataset}' crosses steps in a database that its credentials name. It must be one that every "
                "container reaches, and no file."
            ] = None


def base_name(dataset: str) -> str:
    """The name without its transcoding: ``a@pandas`` and ``a@spark`` are two ways to read ``a``."""
    return dataset.partition("@")[0]
