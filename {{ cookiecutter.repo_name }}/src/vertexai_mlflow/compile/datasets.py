"""Steps and catalog → what happens to each dataset: it travels as a pickle, its files are carried, or it stays put.

A dataset that the catalog does not keep travels as a pickle. One that the catalog keeps on local disk is carried: its
files go to the artifact's URI after the step that makes them, and to the same place before a step that takes them.
Artifacts belong to places, not to names: two datasets with one path are one artifact.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from pathlib import PurePosixPath
from typing import Any, Literal

from ..contract import DATA_PREFIX, MAX_KEY, shortened
from ..contract.catalog import Entry
from ..settings.models import UploadedData
from ..settings.resources import Resources
from .raw import ONLY_BELOW_DATA, RawData, is_writable

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
        """Whether its numbers belong in lineage."""
        return self.type.endswith("Metrics")


def datasets_in(names: Iterable[str]) -> tuple[str, ...]:
    """The names without parameters, which every step has from the configuration; each once, in order."""
    return tuple(dict.fromkeys(name for name in names if name != "parameters" and not name.startswith("params:")))


def is_made_in(dataset: str, outputs: Iterable[str]) -> bool:
    """Whether a dataset is one of these, perhaps transcoded."""
    return dataset in outputs or ("@" in dataset and base_name(dataset) in map(base_name, outputs))


@dataclass(frozen=True)
class DataFlow:
    """How data gets from step to step.

    Args:
        artifacts: dataset → the artifact that carries or describes it, by the name under which it is made.
        inputs: name of a step → the artifacts that it takes, by those names.
        raw: files and folders that steps read and no earlier step makes.
        problems: what cannot work in the cloud, in whole sentences, each once.
        warnings: what may not be what the user wants, likewise.
    """

    artifacts: dict[str, Artifact]
    inputs: dict[str, tuple[str, ...]]
    raw: tuple[RawData, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def trace_data(
    steps: Sequence[Step], lookup: Lookup, at_exit: Iterable[str], uploaded: Mapping[str, UploadedData]
) -> DataFlow:
    """Look at each dataset where it is made, and for each step that takes it.

    Args:
        steps: in an order in which they can run.
        lookup: what the catalog says about a dataset.
        at_exit: the datasets that ``on_exit_pipeline`` takes.
        uploaded: path → what was uploaded of it.
    """
    tracer = _Tracer(steps, lookup, uploaded)
    sources = {step.name: tracer.find_sources(step) for step in steps}
    consumed = {dataset for names in sources.values() for dataset in names}
    artifacts = tracer.make_artifacts(consumed)
    raw = tracer.make_raw_data()
    for dataset in at_exit:
        tracer.look_at_exit(dataset)
    inputs = {step: tuple(name for name in names if name in artifacts) for step, names in sources.items()}
    # A sentence may be about several steps or datasets, and is said once.
    return DataFlow(
        artifacts, inputs, raw, tuple(dict.fromkeys(tracer.problems)), tuple(dict.fromkeys(tracer.warnings))
    )


class _Tracer:
    """The passes of ``trace_data``, and the indexes that they share.

    Attributes:
        problems, warnings: see ``DataFlow``; not yet each once.
    """

    def __init__(self, steps: Sequence[Step], lookup: Lookup, uploaded: Mapping[str, UploadedData]) -> None:
        self._lookup, self._uploaded = lookup, uploaded
        self._makers = {dataset: step for step in steps for dataset in step.outputs}
        self._ancestors = _Ancestors(steps)
        # Place → the datasets that are made there, and those that are made below it.
        self._at: dict[PurePosixPath, list[str]] = defaultdict(list)
        self._below: dict[PurePosixPath, list[str]] = defaultdict(list)
        for dataset in self._makers:
            for place in map(PurePosixPath, self._entry(dataset).places):
                self._at[place].append(dataset)
                for parent in place.parents:
                    self._below[parent].append(dataset)
        # Place → the steps and the datasets that read raw data there.
        self._readers: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._keys: set[str] = set()
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def find_sources(self, step: Step) -> tuple[str, ...]:
        """The datasets whose artifacts a step takes, by the names under which they are made. It may read raw data."""
        sources: dict[str, None] = {}
        for dataset in step.inputs:
            entry = self._entry(dataset)
            if not entry.persists or entry.is_model:
                sources[dataset] = None
            neighbours = self._made_at(entry.places)
            earlier = [name for name in neighbours if self._ancestors.has(self._makers[name], step)]
            sources |= dict.fromkeys(earlier)
            if not any(self._makers[name] is step for name in neighbours):
                for place in entry.places:
                    # Earlier steps may have added files to a folder of raw data.
                    is_added_to = place in self._uploaded and set(earlier) <= set(self._below[PurePosixPath(place)])
                    if not earlier or is_added_to:
                        self._readers[place].append((step.name, dataset))
            for name in neighbours:
                maker = self._makers[name]
                is_ordered = self._ancestors.has(maker, step) or self._ancestors.has(step, maker)
                if maker is not step and not is_ordered:
                    self.problems.append(
                        f"Step '{step.name}' reads dataset '{dataset}' at {entry.path}, and step '{maker.name}' writes "
                        f"'{name}' there, but neither waits for the other. Let a node of '{step.name}' take '{name}'."
                    )
            self._look_at_database(dataset, entry, step)
        return tuple(sources)

    def make_artifacts(self, consumed: Collection[str]) -> dict[str, Artifact]:
        """Dataset → its artifact, for those that a later step takes and those that lineage shows."""
        artifacts = {}
        for dataset, maker in self._makers.items():
            entry = self._entry(dataset)
            self._look_at_places(dataset, entry, maker)
            travels = self._way_of(entry, dataset in consumed)
            if travels or entry.artifact_type:
                artifacts[dataset] = Artifact(
                    key=self._key(dataset),
                    type=entry.artifact_type or "system.Artifact",
                    travels=travels,
                    uri=entry.path if entry.persists and not entry.on_local_disk else None,
                    metadata=entry.metadata,
                )
        return artifacts

    def make_raw_data(self) -> tuple[RawData, ...]:
        """What steps read and no earlier step makes, after ``find_sources`` of all steps."""
        return tuple(self._raw_data(place, readers) for place, readers in self._readers.items())

    def look_at_exit(self, dataset: str) -> None:
        """Name a dataset of ``on_exit_pipeline`` that only another container has."""
        entry = self._entry(dataset)
        for name in self._made_at(entry.places):
            self.problems.append(
                f"on_exit_pipeline takes dataset '{dataset}' at {entry.path}, but only step "
                f"'{self._makers[name].name}' has it on its disk. Give it a remote path, gs://…"
            )

    def _entry(self, dataset: str) -> Entry:
        return self._lookup(dataset) or Entry("MemoryDataset", persists=False)

    @staticmethod
    def _way_of(entry: Entry, is_consumed: bool) -> Travels:
        """How a dataset gets to the steps that take it."""
        if entry.places and (is_consumed or not entry.in_mlflow):
            return "files"
        if not is_consumed:
            return ""
        return "model" if entry.is_model else "" if entry.persists else "pickle"

    def _made_at(self, places: Sequence[str]) -> list[str]:
        """The datasets that are made at these places, inside of them, or around them."""
        datasets: dict[str, None] = {}
        for place in map(PurePosixPath, places):
            for around in (place, *place.parents):
                datasets |= dict.fromkeys(self._at.get(around, ()))
            datasets |= dict.fromkeys(self._below.get(place, ()))
        return list(datasets)

    def _raw_data(self, place: str, readers: Iterable[tuple[str, str]]) -> RawData:
        steps, datasets = (tuple(dict.fromkeys(names)) for names in zip(*readers, strict=True))
        types = [type_ for dataset in datasets if (type_ := self._entry(dataset).artifact_type)]
        uploaded = self._uploaded.get(place)
        raw = RawData(place, datasets, steps, self._key(place), (types or ["system.Dataset"])[0], uploaded)
        if uploaded and not raw.can_be_fetched:
            self.problems.append(
                f"Dataset '{datasets[0]}' was uploaded and would be fetched to {place}, but {ONLY_BELOW_DATA}"
            )
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

    def _look_at_places(self, dataset: str, entry: Entry, maker: Step) -> None:
        if others := {self._makers[name].name for name in self._made_at(entry.places)} - {maker.name}:
            self.problems.append(
                f"Step '{maker.name}' writes dataset '{dataset}' to {entry.path}, where step '{min(others)}' writes as "
                "well. Give each its own path, or let both run in one step (run_config.grouping)."
            )
        self.problems += [
            f"Dataset '{dataset}' of step '{maker.name}' is written to {place}, but {ONLY_BELOW_DATA}"
            for place in entry.places
            if not is_writable(place)
        ]

    def _look_at_database(self, dataset: str, entry: Entry, step: Step) -> None:
        maker = self._makers.get(dataset)
        if not maker or maker.name == step.name:
            return
        if entry.database:
            self.problems.append(
                f"Dataset '{dataset}' is made in step '{maker.name}' and taken in step '{step.name}', but the database "
                f"{entry.database} is a file on the disk of one container. Use a database server, or keep the table in "
                "a file (parquet), which is carried from step to step."
            )
        elif entry.in_database:
            self.warnings.append(
                f"Dataset '{dataset}' crosses steps in a database that its credentials name. It must be one that every "
                "container reaches, and no file."
            )


class _Ancestors:
    """Which steps come before which. Each is a bit of a number, because sets would need too much memory."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._bit = {step.name: 1 << number for number, step in enumerate(steps)}
        self._before: dict[str, int] = {}
        for step in steps:
            self._before[step.name] = reduce(or_, (self._bit[name] | self._before[name] for name in step.after), 0)

    def has(self, step: Step, later: Step) -> bool:
        """Whether a step comes before a later one."""
        return bool(self._before[later.name] & self._bit[step.name])


def base_name(dataset: str) -> str:
    """The name without its transcoding: ``a@pandas`` and ``a@spark`` are two ways to read ``a``."""
    return dataset.partition("@")[0]
