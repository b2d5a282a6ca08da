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
from .raw import ONLY_BELOW_DATA, RawData, is_writable

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
        taken: name of a step → the datasets whose artifacts it takes, by the names under which they are made.
        versions: name of a step → versioned dataset that it loads → the name under which that was made.
        raw: files and folders that steps read and no earlier step makes.
        impossible: what cannot work anywhere, in whole sentences without duplicates.
        problems: what cannot work in the cloud, in the same form.
        warnings: what may not be what the user wants, in the same form.
    """

    artifacts: dict[str, Artifact]
    taken: dict[str, tuple[str, ...]]
    versions: dict[str, dict[str, str]]
    raw: tuple[RawData, ...]
    impossible: tuple[str, ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def trace_data(
    steps: Sequence[Step], lookup: Lookup, at_exit: Iterable[str], uploaded: Mapping[str, UploadedData]
) -> DataFlow:
    """Find out how each dataset gets from step to step, and what stands in the way.

    Args:
        steps: in an order in which they can run.
        lookup: what the catalog says about a dataset.
        at_exit: the datasets that ``on_exit_pipeline`` takes.
        uploaded: path → what was uploaded of it.
    """
    tracer = _Tracer(steps, lookup, uploaded)
    # In this order: only when all steps have been looked at, it is known what is consumed, and what is raw data.
    sources = {step.name: tracer.find_sources(step) for step in steps}
    consumed = {dataset for names in sources.values() for dataset in names}
    artifacts = tracer.make_artifacts(consumed)
    raw = tracer.make_raw_data()
    for step in steps:
        tracer.report_crossings(step)
        tracer.report_unknown_classes(step)
    for dataset in at_exit:
        tracer.report_exit(dataset)
    return DataFlow(
        artifacts=artifacts,
        taken={step: tuple(name for name in names if name in artifacts) for step, names in sources.items()},
        versions=tracer.versions,
        raw=raw,
        # A sentence may be about several steps or datasets, and is said once.
        impossible=tuple(dict.fromkeys(tracer.impossible)),
        problems=tuple(dict.fromkeys(tracer.problems)),
        warnings=tuple(dict.fromkeys(tracer.warnings)),
    )


class _Tracer:
    """The passes of ``trace_data``, and the indexes that they share.

    Attributes:
        versions, impossible, problems, warnings: see ``DataFlow``; the sentences still with duplicates.
    """

    def __init__(self, steps: Sequence[Step], lookup: Lookup, uploaded: Mapping[str, UploadedData]) -> None:
        self._lookup, self._uploaded = lookup, uploaded
        self._makers = {dataset: step for step in steps for dataset in step.outputs}
        self._makers_of_transcoded = {base_name(name): step for name, step in self._makers.items() if "@" in name}
        self._ancestors = _Ancestors(steps)
        self._made = PlaceIndex()
        for dataset in self._makers:
            for address in self._entry(dataset).addresses:
                self._made.add(address, dataset)
        # Place of raw data → the steps that read it, each with the dataset by which it does.
        self._readers: dict[str, list[tuple[str, str]]] = {}
        self._keys: set[str] = set()
        self.versions: dict[str, dict[str, str]] = {step.name: {} for step in steps}
        self.impossible: list[str] = []
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def find_sources(self, step: Step) -> tuple[str, ...]:
        """The datasets whose artifacts a step takes, by the names under which they are made.

        Notes also which version it loads, and what it reads that no step makes.
        """
        sources: dict[str, None] = {}
        for dataset in step.inputs:
            entry = self._entry(dataset)
            if entry.storage in ("memory", "model"):
                sources[dataset] = None
            neighbours = self._made_at(entry)
            earlier = [name for name in neighbours if self._ancestors.is_before(self._makers[name], step)]
            if entry.storage == "disk":
                sources |= dict.fromkeys(earlier)
                self._find_raw_data(dataset, entry, step, earlier)
            # Not what is made around it, or inside of it: only the same place has the same versions.
            same = [name for name in earlier if self._entry(name).addresses == entry.addresses]
            if entry.is_versioned and same:
                self.versions[step.name][dataset] = same[-1]
                sources[same[-1]] = None
        return tuple(sources)

    def _find_raw_data(self, dataset: str, entry: Entry, step: Step, earlier: Collection[str]) -> None:
        """Note where a step reads files that nothing has made before."""
        own_outputs = [name for name in self._made_at(entry) if self._makers[name] is step]
        if set(own_outputs) & set(step.made_before.get(dataset, ())):
            return
        made_before = [other for name in earlier for other in self._entry(name).places]
        for place in entry.places:
            is_raw = not any(overlap(place, other) for other in made_before)
            # Earlier steps may have added files to a folder of raw data.
            is_added_to = place in self._uploaded and not any(
                f"{place}/".startswith(f"{other}/") for other in made_before
            )
            if is_raw or is_added_to:
                self._readers.setdefault(place, []).append((step.name, dataset))
        if own_outputs and not earlier:
            self.warnings.append(
                f"Step '{step.name}' reads dataset '{dataset}' at {entry.path}, and then writes '{own_outputs[0]}' "
                "there. The next job will again read what was uploaded or is in the image, not what this job writes. "
                "If jobs build on each other, give both a remote path, gs://…"
            )

    def make_artifacts(self, consumed: Collection[str]) -> dict[str, Artifact]:
        """Dataset → its artifact, for those that a later step takes and those that lineage shows."""
        artifacts = {}
        for dataset, maker in self._makers.items():
            entry = self._entry(dataset)
            self._report_places(dataset, entry, maker)
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

    def report_exit(self, dataset: str) -> None:
        """Report a dataset of ``on_exit_pipeline`` that only another container has."""
        entry = self._entry(dataset)
        for name in self._made_at(entry) if entry.places else ():
            self.problems.append(
                f"on_exit_pipeline takes dataset '{dataset}' at {entry.path}, but only step "
                f"'{self._makers[name].name}' has it on its disk. Give it a remote path, gs://…"
            )

    def report_unknown_classes(self, step: Step) -> None:
        """Report the classes of a step's datasets that could not be looked at."""
        for dataset in (*step.inputs, *step.outputs):
            if not (entry := self._entry(dataset)).is_known:
                self.warnings.append(
                    f"{entry.type} cannot be imported here, so its name and its entry decide how dataset '{dataset}' "
                    "gets from step to step. Install what it needs here as well, to be sure."
                )

    def _entry(self, dataset: str) -> Entry:
        return self._lookup(dataset) or Entry("MemoryDataset", persists=False)

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

    def _made_at(self, entry: Entry) -> list[str]:
        """The datasets that are made where a dataset is, inside of it, or around it."""
        return list(dict.fromkeys(name for address in entry.addresses for name in self._made.find(address)))

    def _raw_data(self, place: str, readers: Sequence[tuple[str, str]]) -> RawData:
        steps = tuple(dict.fromkeys(step for step, _dataset in readers))
        datasets = tuple(dict.fromkeys(dataset for _step, dataset in readers))
        types = [type_ for dataset in datasets if (type_ := self._entry(dataset).artifact_type)]
        uploaded = self._uploaded.get(place)
        raw = RawData(place, datasets, steps, self._reserve_key(place), (types or ["system.Dataset"])[0], uploaded)
        if uploaded and not raw.can_be_fetched:
            self.problems.append(
                f"Dataset '{datasets[0]}' was uploaded and would be fetched to {place}, but {ONLY_BELOW_DATA}"
            )
        return raw

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

    def _report_places(self, dataset: str, entry: Entry, maker: Step) -> None:
        others = {self._makers[name].name for name in self._made_at(entry)} - {maker.name}
        if others and entry.places:
            self.problems.append(
                f"Step '{maker.name}' writes dataset '{dataset}' to {entry.path}, where step '{min(others)}' writes as "
                "well. Give each its own path, or let both run in one step (run_config.grouping)."
            )
        self.problems += [
            f"Dataset '{dataset}' of step '{maker.name}' is written to {place}, but {ONLY_BELOW_DATA}"
            for place in entry.places
            if not is_writable(place)
        ]

    def report_crossings(self, step: Step) -> None:
        """Report the inputs of a step whose data does not get there from another step, or may not."""
        for dataset in step.inputs:
            self._report_crossing(dataset, self._entry(dataset), step)

    def _report_crossing(self, dataset: str, entry: Entry, step: Step) -> None:
        maker = self._makers.get(dataset) or self._makers_of_transcoded.get(base_name(dataset))
        if not maker or maker is step:
            return
        crosses = f"Dataset '{dataset}' is made in step '{maker.name}' and taken in step '{step.name}'"
        if entry.storage == "process":
            self.impossible.append(
                f"{crosses}, but it is kept in the memory of one process ({entry.path or entry.database}). Keep it in "
                "a file (parquet), or run both nodes in one step (run_config.grouping)."
            )
        elif entry.storage == "database" or (entry.storage == "disk" and entry.database):
            self.problems.append(
                f"{crosses}, but the database {entry.database} is a file on the disk of one container. Use a database "
                "server, or keep the table in a file (parquet), which is carried from step to step."
            )
        elif entry.in_named_database:
            self.warnings.append(
                f"Dataset '{dataset}' crosses steps in a database that its credentials name. It must be one that every "
                "container reaches, and no file."
            )
        elif entry.storage == "elsewhere" and entry.is_own_class and not entry.table and not entry.in_mlflow:
            self.warnings.append(
                f"{crosses}, and its entry names no place. {entry.type} must keep it where every container finds it: "
                "not in memory, and not on local disk, unless metadata.vertexai.paths names the files."
            )
        if entry.storage == "memory" and entry.config.get("copy_mode") == "assign":
            self.warnings.append(
                f"{crosses}, with copy_mode: assign. What a node changes in place, the nodes of other steps do not see."
            )


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
