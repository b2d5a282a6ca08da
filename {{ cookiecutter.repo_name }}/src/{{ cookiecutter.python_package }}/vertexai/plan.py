"""Kedro pipeline + settings → ``Plan``: which steps there are, what flows between them, what each one needs.

Pure data: nothing is loaded, written or called here.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from .config import ResourcesConfig, RunConfig
from .errors import UserError

START_TASK = "mlflow-start-run"
FINISH_TASK = "mlflow-finish-run"


@dataclass(frozen=True)
class Resources:
    """What a step asks of the machine.

    Args:
        cpu: vCPUs, as Kubernetes writes them (``2``, ``500m``).
        memory: as Kubernetes writes it (``4Gi``).
    """

    cpu: str | None = None
    memory: str | None = None


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
    """

    name: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    after: tuple[str, ...]
    resources: Resources


@dataclass(frozen=True)
class Plan:
    """A pipeline cut into steps, in an order in which they can run.

    Args:
        pipeline: the Kedro pipeline's name.
        steps: every node is in exactly one of them.
        artifacts: dataset → key of the KFP artifact by which it travels between steps.
    """

    pipeline: str
    steps: tuple[Step, ...]
    artifacts: dict[str, str] = field(default_factory=dict)


def make_plan(name: str, pipeline: Pipeline, run_config: RunConfig, in_catalog: Callable[[str], bool]) -> Plan:
    """Cut a pipeline into steps, one per node.

    Args:
        name: the pipeline's name in the registry.
        pipeline: the Kedro pipeline.
        run_config: ``run_config`` of ``vertexai.yml``.
        in_catalog: tells whether the catalog has a place for a dataset.

    Raises:
        UserError: when two nodes sanitise to one task name, or a dataset comes from nowhere.
    """
    nodes = list(pipeline.nodes)
    names = _task_names(nodes)
    _refuse_missing_inputs(name, pipeline, in_catalog)
    steps = tuple(
        Step(
            name=names[node],
            nodes=(node.name,),
            inputs=_datasets(node.inputs),
            outputs=_datasets(node.outputs),
            after=tuple(sorted(names[upstream] for upstream in pipeline.node_dependencies[node])),
            resources=_resources(node, run_config.resources),
        )
        for node in nodes
    )
    return Plan(name, steps, _artifacts(steps, in_catalog))


def task_name(name: str) -> str:
    """A Kedro name as KFP allows it: lower case, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "step"


def _task_names(nodes: Iterable[Node]) -> dict[Node, str]:
    taken: dict[str, str] = {}
    names: dict[Node, str] = {}
    for node in nodes:
        task = task_name(node.name)
        if task in (START_TASK, FINISH_TASK):
            raise UserError(f"Node '{node.name}' would become the task '{task}', which is kept for MLflow. Rename it.")
        if task in taken:
            raise UserError(
                f"Nodes '{taken[task]}' and '{node.name}' would both become the task '{task}'. Rename one of them."
            )
        taken[task] = node.name
        names[node] = task
    return names


def _refuse_missing_inputs(name: str, pipeline: Pipeline, in_catalog: Callable[[str], bool]) -> None:
    for dataset in _datasets(sorted(pipeline.inputs())):
        if not in_catalog(dataset):
            takers = sorted(node.name for node in pipeline.nodes if dataset in node.inputs)
            raise UserError(
                f"Dataset '{dataset}' (input of node '{takers[0]}' of pipeline '{name}') is made by no node and is "
                "not in the catalog. Add it to conf/base/catalog.yml, or correct the node's input."
            )


def _datasets(names: Iterable[str]) -> tuple[str, ...]:
    """Without the parameters, which every step has from the configuration; each once, in order."""
    return tuple(dict.fromkeys(name for name in names if name != "parameters" and not name.startswith("params:")))


def _artifacts(steps: Iterable[Step], in_catalog: Callable[[str], bool]) -> dict[str, str]:
    steps = list(steps)
    consumed = {dataset for step in steps for dataset in step.inputs}
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for dataset in (dataset for step in steps for dataset in step.outputs):
        if dataset not in consumed or in_catalog(dataset):
            continue
        # Two datasets may sanitise alike; unlike task names, nobody reads keys, so a number will do.
        key = base = "data_" + re.sub(r"[^a-z0-9]+", "_", dataset.lower()).strip("_")
        number = 1
        while key in taken:
            number += 1
            key = f"{base}_{number}"
        taken.add(key)
        keys[dataset] = key
    return keys


def _resources(node: Node, entries: dict[str, ResourcesConfig]) -> Resources:
    """Fields by node name first, then by one of its tags, then ``__default__``."""
    specific = [entries[key] for key in (node.name, *sorted(node.tags), "__default__") if key in entries]

    def first(name: str) -> str | None:
        return next((value for entry in specific if (value := getattr(entry, name)) is not None), None)

    return Resources(cpu=first("cpu"), memory=first("memory"))
