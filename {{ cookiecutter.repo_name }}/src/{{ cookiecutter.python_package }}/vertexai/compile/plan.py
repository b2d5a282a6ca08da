"""Kedro pipeline + settings → ``Plan``: which steps there are, what flows between them, what each one needs.

Pure data: nothing is loaded, written or called here.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from .catalog import Entry
from .config import RunConfig
from .errors import UserError
from .grouping import group_nodes
from .resources import Resources, is_cached, resources_of, step_resources

START_TASK = "mlflow-start-run"
FINISH_TASK = "mlflow-finish-run"

# What the catalog says of a dataset; None if it has no place for it.
Lookup = Callable[[str], Entry | None]


@dataclass(frozen=True)
class Artifact:
    """A dataset as the platform knows it.

    Args:
        key: of the KFP artifact.
        type: KFP artifact type, ``system.Dataset``.
        travels: whether this is how it gets from step to step; if not, the catalog keeps it, and this is its lineage.
        uri: where the catalog keeps it, if that is a URL.
        metadata: what lineage is told of it, besides what a step finds out.
    """

    key: str
    type: str = "system.Artifact"
    travels: bool = True
    uri: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One task of the pipeline job: some nodes that run in one container.

    Args:
        name: KFP task name.
        nodes: Kedro node names, in the order they run.
        inputs: datasets the step loads that it does not make itself.
        outputs: datasets the step makes.
        after: names of the steps that must have succeeded before.
        resources: what it asks of the machine.
        cached: whether an earlier run's result is taken if there is one.
    """

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    after: tuple[str, ...]
    resources: Resources
    cached: bool = False


@dataclass(frozen=True)
class Plan:
    """A pipeline cut into steps, in an order in which they can run.

    Args:
        pipeline: the Kedro pipeline's name.
        steps: every node is in exactly one of them.
        artifacts: dataset → the KFP artifact that carries or describes it.
        on_exit: Kedro pipeline of the exit task.
        read_from_image: files that steps read and no step makes; they must be in the image.
        warnings: what may not be what the user wants, in sentences.
    """

    pipeline: str
    steps: tuple[Step, ...]
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    on_exit: str | None = None
    read_from_image: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def make_plan(name: str, pipeline: Pipeline, run_config: RunConfig, lookup: Lookup) -> Plan:
    """Cut a pipeline into steps.

    Args:
        name: the pipeline's name in the registry.
        pipeline: the Kedro pipeline.
        run_config: ``run_config`` of ``vertexai.yml``.
        lookup: what the catalog says of a dataset.

    Raises:
        UserError: when steps would have one task name, wait for each other, or lack a dataset.
    """
    refuse_missing_inputs(name, pipeline, lookup)
    groups = group_nodes(pipeline, run_config.grouping, lambda node: resources_of(node, run_config))
    names = _task_names({group: nodes for group, (nodes, _before) in groups.items()})
    steps = []
    for group, (nodes, before) in groups.items():
        made = _datasets(dataset for node in nodes for dataset in node.outputs)
        kept = any((entry := lookup(dataset)) and entry.persists for dataset in made)
        steps.append(
            Step(
                name=names[group],
                nodes=tuple(node.name for node in nodes),
                inputs=_datasets(taken for node in nodes for taken in node.inputs if not _is_in(taken, made)),
                outputs=made,
                after=tuple(sorted(names[other] for other in before)),
                resources=step_resources(group, nodes, run_config),
                cached=is_cached(group, nodes, run_config, writes_catalog=kept),
            )
        )
    remote = run_config.root is not None and not _is_local(run_config.root)
    read, warnings = _on_own_disk(steps, lookup) if remote else ([], [])
    return Plan(
        pipeline=name,
        steps=tuple(steps),
        artifacts=_artifacts(steps, lookup),
        on_exit=run_config.on_exit_pipeline,
        read_from_image=tuple(read),
        warnings=tuple(warnings),
    )


def task_name(name: str) -> str:
    """A Kedro name as KFP allows it: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "step"


def refuse_missing_inputs(name: str, pipeline: Pipeline, lookup: Lookup) -> None:
    """Refuse a pipeline that takes what neither a node makes nor the catalog keeps.

    Raises:
        UserError: naming dataset and node.
    """
    for dataset in _datasets(sorted(pipeline.inputs())):
        entry = lookup(dataset)
        if entry is None or not entry.persists:
            takers = sorted(node.name for node in pipeline.nodes if dataset in node.inputs)
            raise UserError(
                f"Dataset '{dataset}' (input of node '{takers[0]}' of pipeline '{name}') is made by no node and is "
                "not in the catalog. Add it to conf/base/catalog.yml, or correct the node's input."
            )
    made = {_base(dataset): dataset for node in pipeline.nodes for dataset in node.outputs}
    for dataset in _datasets(name for node in pipeline.nodes for name in node.inputs):
        maker = made.get(_base(dataset), dataset)
        for version in (maker, dataset) if maker != dataset else ():
            if not (entry := lookup(version)) or not entry.persists:
                raise UserError(
                    f"Dataset '{version}' of pipeline '{name}' is transcoded, so it must be kept where another "
                    f"dataset can read it: add it to conf/base/catalog.yml with the filepath of '{_base(version)}'."
                )


def _task_names(groups: Mapping[str, list[Node]]) -> dict[str, str]:
    taken: dict[str, str] = {}
    names: dict[str, str] = {}
    for group, nodes in groups.items():
        task = task_name(group)
        shown = f"Node '{group}'" if [node.name for node in nodes] == [group] else f"Group '{group}'"
        if task in (START_TASK, FINISH_TASK):
            raise UserError(f"{shown} would become the task '{task}', which is kept for MLflow. Rename it.")
        if task in taken:
            first, second = sorted((taken[task], group))
            kind = "Nodes" if all(len(nodes) == 1 for nodes in groups.values()) else "Groups"
            raise UserError(f"{kind} '{first}' and '{second}' would both become the task '{task}'. Rename one of them.")
        taken[task] = group
        names[group] = task
    return names


def _datasets(names: Iterable[str]) -> tuple[str, ...]:
    """Without the parameters, which every step has from the configuration; each once, in order."""
    return tuple(dict.fromkeys(name for name in names if name != "parameters" and not name.startswith("params:")))


def _base(dataset: str) -> str:
    """The name without the transcoding: ``a@pandas`` and ``a@spark`` are two ways to read ``a``."""
    return dataset.partition("@")[0]


def _is_in(dataset: str, datasets: Iterable[str]) -> bool:
    return dataset in datasets or ("@" in dataset and _base(dataset) in map(_base, datasets))


def _artifacts(steps: Iterable[Step], lookup: Lookup) -> dict[str, Artifact]:
    steps = list(steps)
    consumed = {dataset for step in steps for dataset in step.inputs}
    found: dict[str, Artifact] = {}
    taken: set[str] = set()
    for dataset in (dataset for step in steps for dataset in step.outputs):
        entry = lookup(dataset) or Entry("MemoryDataset", persists=False)
        travels = dataset in consumed and not entry.persists
        if not travels and entry.artifact_type is None:
            continue
        # Two datasets may sanitise alike; unlike task names, nobody reads keys, so a number will do.
        key = base = "data_" + re.sub(r"[^a-z0-9]+", "_", dataset.lower()).strip("_")
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


def _on_own_disk(steps: Iterable[Step], lookup: Lookup) -> tuple[list[str], list[str]]:
    """Look for datasets of the catalog on a container's own disk, where no other container finds them.

    Returns:
        The files that are only read, and warnings of those that are only written.

    Raises:
        UserError: for one that is made in one step and taken in another.
    """
    steps = list(steps)
    makers = {_base(dataset): step.name for step in steps for dataset in step.outputs}
    takers = {_base(dataset): step.name for step in reversed(steps) for dataset in step.inputs}
    read, warnings = [], []
    for dataset in _datasets(name for step in steps for name in (*step.inputs, *step.outputs)):
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


def _is_local(root: str) -> bool:
    return "://" not in root or root.startswith("file://")
