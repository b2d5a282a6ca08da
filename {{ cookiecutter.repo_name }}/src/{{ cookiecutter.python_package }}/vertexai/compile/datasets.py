"""Steps and catalog → what happens to each dataset: it travels as an artifact, or the catalog keeps it."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kedro.pipeline import Pipeline

from ...errors import UserError
from ..contract import DATA_PREFIX
from .catalog import Entry

# What the catalog says about a dataset; None if it has no place for it.
Lookup = Callable[[str], Entry | None]


class _Step(Protocol):
    """What is asked about a step here; ``plan.Step`` is one."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def outputs(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Artifact:
    """A dataset as the platform knows it.

    Args:
        key: key of the KFP artifact.
        type: KFP artifact type, ``system.Dataset``.
        travels: whether it gets from step to step as this artifact. If not, the catalog keeps it, and the artifact is
            only there for lineage.
        uri: where the catalog keeps it, if that is a URL.
        metadata: what lineage is told about it, besides what a step finds out.
    """

    key: str
    type: str = "system.Artifact"
    travels: bool = True
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
    return dataset in made or ("@" in dataset and _base(dataset) in map(_base, made))


def refuse_missing_inputs(name: str, pipeline: Pipeline, lookup: Lookup) -> None:
    """Refuse a pipeline that takes what neither a node makes nor the catalog keeps.

    Raises:
        UserError: naming dataset and node.
    """
    for dataset in datasets_in(sorted(pipeline.inputs())):
        entry = lookup(dataset)
        if entry is None or not entry.persists:
            takers = sorted(node.name for node in pipeline.nodes if dataset in node.inputs)
            raise UserError(
                f"Dataset '{dataset}' (input of node '{takers[0]}' of pipeline '{name}') is made by no node and is "
                "not in the catalog. Add it to conf/base/catalog.yml, or correct the node's input."
            )
    made = {_base(dataset): dataset for node in pipeline.nodes for dataset in node.outputs}
    for dataset in datasets_in(name for node in pipeline.nodes for name in node.inputs):
        maker = made.get(_base(dataset), dataset)
        for version in (maker, dataset) if maker != dataset else ():
            if not (entry := lookup(version)) or not entry.persists:
                raise UserError(
                    f"Dataset '{version}' of pipeline '{name}' is transcoded, so it must be kept where another "
                    f"dataset can read it: add it to conf/base/catalog.yml with the filepath of '{_base(version)}'."
                )


def artifacts_of(steps: Iterable[_Step], lookup: Lookup) -> dict[str, Artifact]:
    """Dataset → its KFP artifact, for those that travel and those that lineage should know."""
    steps = list(steps)
    consumed = {dataset for step in steps for dataset in step.inputs}
    found: dict[str, Artifact] = {}
    taken: set[str] = set()
    for dataset in (dataset for step in steps for dataset in step.outputs):
        entry = lookup(dataset) or Entry("MemoryDataset", persists=False)
        travels = dataset in consumed and not entry.persists
        if not travels and entry.artifact_type is None:
            continue
        # Two names may become one key. Unlike task names, nobody reads keys, so a number tells them apart.
        key = base = DATA_PREFIX + re.sub(r"[^a-z0-9]+", "_", dataset.lower()).strip("_")
        number = 1
        while key in taken:
            number += 1
            key = f"{base}_{number}"
        taken.add(key)
        found[dataset] = Artifact(
            key=key,
            type=entry.artifact_type or "system.Artifact",
            travels=travels,
            uri=entry.path if entry.persists and not entry.on_local_disk else None,
            metadata=entry.metadata,
        )
    return found


def on_own_disk(steps: Iterable[_Step], lookup: Lookup) -> tuple[list[str], list[str]]:
    """Look for datasets of the catalog on a container's own disk, where no other container finds them.

    Returns:
        The files that are only read, and warnings about those that are only written.

    Raises:
        UserError: for one that is made in one step and taken in another.
    """
    steps = list(steps)
    makers = {_base(dataset): step.name for step in steps for dataset in step.outputs}
    takers = {_base(dataset): step.name for step in reversed(steps) for dataset in step.inputs}
    read, warnings = [], []
    for dataset in datasets_in(name for step in steps for name in (*step.inputs, *step.outputs)):
        entry = lookup(dataset)
        if not entry or not entry.persists or not entry.path or not entry.on_local_disk:
            continue
        maker, taker = makers.get(_base(dataset)), takers.get(_base(dataset))
        if maker and taker:
            raise UserError(
                f"Dataset '{dataset}' is made in step '{maker}' and taken in step '{taker}', but {entry.path} is on a "
                "container's own disk, and steps share none. Take it out of the catalog, and it travels as an "
                "artifact; or give it a remote path, gs://…"
            )
        if not maker:
            read.append(entry.path)
        elif not entry.in_mlflow:
            warnings.append(
                f"Dataset '{dataset}' of step '{maker}' is written to {entry.path} on the container's own disk and "
                "lost with it. Give it a remote path, gs://…"
            )
    return read, warnings


def _base(dataset: str) -> str:
    """The name without its transcoding: ``a@pandas`` and ``a@spark`` are two ways to read ``a``."""
    return dataset.partition("@")[0]
