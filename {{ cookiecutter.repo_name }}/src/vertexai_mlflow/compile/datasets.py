"""Steps and catalog → how each dataset gets from the step that makes it to the steps that take it; see ``Travels``.

A dataset that the catalog does not keep travels as a pickle. One that the catalog keeps on local disk is carried: its
files go to the artifact's URI after the step that makes them, and to the same place before a step that takes them. A
model of the MLflow run is handed on by its address. Everything else stays where it is; if it is versioned, the version
is handed on, because another job may save a newer one in between.
Artifacts belong to places, not to names: what one step has made by one name, another step may take by another.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any, Literal

from ..contract.catalog import Entry
from ..contract.limits import MAX_KEY
from ..contract.names import DATA_PREFIX, shortened
from ..contract.places import overlap
from ..settings.models import UploadedData
from ..settings.resources import Resources
from .place_index import PlaceIndex
from .raw import RawData

# What the catalog says about a dataset; None if it has no place for it.
Lookup = Callable[[str], Entry | None]
Travels = Literal["pickle", "files", "model", "version", ""]


@dataclass(frozen=True)
class Step:
    """One task of the pipeline job: some nodes that run in one container.

    Args:
        name: KFP task name.
        nodes: Kedro node names, in the order they run.
        inputs: datasets that the step loads and does not make itself.
        outputs: datasets that the step makes.
        after: names of the steps that must have succeeded before.
        made_before: input → the outputs of those nodes of the step that run before the first node that takes it. An
            input that the step itself has written by then is no raw data.
        resources: what it asks of the machine.
        cached: whether the result of an earlier run is taken if there is one.
        fingerprint: see ``fingerprint``.
        not_comparable: why the fingerprint cannot be compared with that of another job; empty if it can.
    """

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    after: tuple[str, ...]
    resources: Resources
    made_before: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cached: bool = False
    fingerprint: str = ""
    not_comparable: str = ""


@dataclass(frozen=True)
class Artifact:
    """A dataset as the platform knows it.

    Args:
        key: key of the KFP artifact.
        type: KFP artifact type, ``system.Dataset``.
        travels: how it gets from step to step: as a ``pickle``, by its ``files``, as a ``model`` of the MLflow run, or
            by the ``version`` that the job has saved. Empty if the catalog keeps it where every step finds it, and the
            artifact is only there for lineage.
        uri: where the catalog keeps it, if that is a URL.
        metadata: what lineage is told about it, besides what a step finds out.
        is_versioned: whether it is saved under the job's version.
    """

    key: str
    type: str = "system.Artifact"
    travels: Travels = "pickle"
    uri: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    is_versioned: bool = False

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
        artifacts: dataset → the artifact that hands it on or describes it, by the name under which it is made.
        artifact_inputs: name of a step → the datasets whose artifacts it takes, by the names under which they are made.
        versions: name of a step → versioned dataset that it loads → the name under which that was made.
        raw: files and folders that steps read and no earlier step makes.
        updates: raw data that a step reads before it writes there itself: the step, and the datasets by which
            it does the one and the other.
    """

    artifacts: dict[str, Artifact]
    artifact_inputs: dict[str, tuple[str, ...]]
    versions: dict[str, dict[str, str]]
    raw: tuple[RawData, ...]
    updates: tuple[tuple[Step, str, str], ...]


class Makers:
    """Which step makes a dataset, and what else is made at its place.

    Args:
        steps: the steps of a pipeline.
        lookup: what the catalog says about a dataset.
    """

    def __init__(self, steps: Sequence[Step], lookup: Lookup) -> None:
        self._lookup = lookup
        self.steps = {dataset: step for step in steps for dataset in step.outputs}
        self._of_transcoded = {base_name(name): step for name, step in self.steps.items() if "@" in name}
        self._places = PlaceIndex()
        for dataset in self.steps:
            for address in self.entry(dataset).addresses:
                self._places.add(address, dataset)

    def entry(self, dataset: str) -> Entry:
        """What the catalog says about a dataset; one that it does not have is kept in memory."""
        return self._lookup(dataset) or Entry("MemoryDataset", persists=False)

    def of(self, dataset: str) -> Step | None:
        """The step that makes a dataset, perhaps transcoded; None if no step does."""
        return self.steps.get(dataset) or self._of_transcoded.get(base_name(dataset))

    def made_at(self, entry: Entry) -> list[str]:
        """The datasets that are made where a dataset is, inside of it, or around it."""
        return list(dict.fromkeys(name for address in entry.addresses for name in self._places.find(address)))


def trace_data(steps: Sequence[Step], makers: Makers, uploaded: Mapping[str, UploadedData]) -> DataFlow:
    """Find out how each dataset gets from step to step.

    Args:
        steps: in an order in which they can run.
        makers: which of them makes what.
        uploaded: path → what was uploaded of it.
    """
    tracer = _Tracer(steps, makers, uploaded)
    # In this order: only when all steps have been looked at, it is known what is consumed, and what is raw data.
    sources = {step.name: tracer.find_sources(step) for step in steps}
    consumed = {dataset for names in sources.values() for dataset in names}
    artifacts = tracer.make_artifacts(consumed)
    return DataFlow(
        artifacts=artifacts,
        artifact_inputs={step: tuple(name for name in names if name in artifacts) for step, names in sources.items()},
        versions=tracer.versions,
        raw=tracer.make_raw_data(),
        updates=tuple(tracer.updates),
    )


class _Tracer:
    """The passes of ``trace_data``, and what they share.

    Attributes:
        versions, updates: see ``DataFlow``.
    """

    def __init__(self, steps: Sequence[Step], makers: Makers, uploaded: Mapping[str, UploadedData]) -> None:
        self._makers, self._uploaded = makers, uploaded
        self._ancestors = _Ancestors(steps)
        # Place of raw data → the steps that read it, each with the dataset by which it does.
        self._readers: dict[str, list[tuple[str, str]]] = {}
        self._keys: set[str] = set()
        self.versions: dict[str, dict[str, str]] = {step.name: {} for step in steps}
        self.updates: list[tuple[Step, str, str]] = []

    def find_sources(self, step: Step) -> tuple[str, ...]:
        """The datasets whose artifacts a step takes, by the names under which they are made.

        Notes also which version it loads, and what it reads that no step makes.
        """
        sources: dict[str, None] = {}
        for dataset in step.inputs:
            entry = self._makers.entry(dataset)
            if entry.storage in ("memory", "model"):
                sources[dataset] = None
            neighbours = self._makers.made_at(entry)
            earlier = [name for name in neighbours if self._ancestors.is_before(self._makers.steps[name], step)]
            if entry.storage == "disk":
                sources |= dict.fromkeys(earlier)
                self._find_raw_data(dataset, entry, step, earlier)
            # Not what is made around it, or inside of it: only the same place has the same versions.
            same = [name for name in earlier if self._makers.entry(name).addresses == entry.addresses]
            if entry.is_versioned and same:
                self.versions[step.name][dataset] = same[-1]
                sources[same[-1]] = None
        return tuple(sources)

    def _find_raw_data(self, dataset: str, entry: Entry, step: Step, earlier: Collection[str]) -> None:
        """Note where a step reads files that nothing has made before."""
        own_outputs = [name for name in self._makers.made_at(entry) if self._makers.steps[name] is step]
        if set(own_outputs) & set(step.made_before.get(dataset, ())):
            return
        made_before = [other for name in earlier for other in self._makers.entry(name).places]
        for place in entry.places:
            is_raw = not any(overlap(place, other) for other in made_before)
            # Earlier steps may have added files to a folder of raw data.
            is_added_to = place in self._uploaded and not any(
                f"{place}/".startswith(f"{other}/") for other in made_before
            )
            if is_raw or is_added_to:
                self._readers.setdefault(place, []).append((step.name, dataset))
        if own_outputs and not earlier:
            self.updates.append((step, dataset, own_outputs[0]))

    def make_artifacts(self, consumed: Collection[str]) -> dict[str, Artifact]:
        """Dataset → its artifact, for those that a later step takes and those that lineage shows."""
        artifacts = {}
        for dataset in self._makers.steps:
            entry = self._makers.entry(dataset)
            travels = self._way_of(entry, dataset in consumed)
            if travels or entry.artifact_type:
                artifacts[dataset] = Artifact(
                    key=self._reserve_key(dataset),
                    type=entry.artifact_type or "system.Artifact",
                    travels=travels,
                    uri=entry.path if entry.storage == "remote" else None,
                    metadata=entry.metadata,
                    is_versioned=entry.is_versioned,
                )
        return artifacts

    def make_raw_data(self) -> tuple[RawData, ...]:
        """What steps read and no earlier step makes, after ``find_sources`` of all steps."""
        return tuple(self._raw_data(place, readers) for place, readers in self._readers.items())

    @staticmethod
    def _way_of(entry: Entry, is_consumed: bool) -> Travels:
        """How a dataset gets to the steps that take it."""
        if entry.storage == "disk":
            # What nobody takes is kept as well, unless MLflow keeps it: the container's disk is gone after the step.
            return "files" if is_consumed or not entry.in_mlflow else ""
        if not is_consumed:
            return ""
        if entry.storage == "memory":
            return "pickle"
        if entry.storage == "model":
            return "model"
        return "version" if entry.is_versioned else ""

    def _raw_data(self, place: str, readers: Sequence[tuple[str, str]]) -> RawData:
        steps = tuple(dict.fromkeys(step for step, _dataset in readers))
        datasets = tuple(dict.fromkeys(dataset for _step, dataset in readers))
        types = [type_ for dataset in datasets if (type_ := self._makers.entry(dataset).artifact_type)]
        type_ = (types or ["system.Dataset"])[0]
        return RawData(place, datasets, steps, self._reserve_key(place), type_, self._uploaded.get(place))

    def _reserve_key(self, dataset: str) -> str:
        # Two names may become one key. Unlike task names, nobody reads keys, so a number tells them apart.
        text = DATA_PREFIX + re.sub(r"[^a-z0-9]+", "_", dataset.lower()).strip("_")
        key = base = shortened(text, MAX_KEY - len("_1000"))
        number = 1
        while key in self._keys:
            number += 1
            key = f"{base}_{number}"
        self._keys.add(key)
        return key


class _Ancestors:
    """Which steps come before which. Each is a bit of a number, because sets would need too much memory."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._bit = {step.name: 1 << number for number, step in enumerate(steps)}
        self._before: dict[str, int] = {}
        for step in steps:
            self._before[step.name] = reduce(or_, (self._bit[name] | self._before[name] for name in step.after), 0)

    def is_before(self, step: Step, later: Step) -> bool:
        """Whether a step comes before a later one."""
        return bool(self._before[later.name] & self._bit[step.name])


def base_name(dataset: str) -> str:
    """The name without its transcoding: ``a@pandas`` and ``a@spark`` are two ways to read ``a``."""
    return dataset.partition("@")[0]
