"""Kedro pipeline and settings → ``Plan``: which steps there are, what flows between them, what each of them needs.

Nothing is loaded, written or called here, except that the project's pipelines and configuration are read.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from ..contract.catalog import Catalog
from ..contract.names import FINISH_TASK, GATHER_PREFIX, IMPORT_PREFIX, START_TASK, is_digest, task_name, with_hash
from ..contract.params import by_name
from ..errors import UserError, did_you_mean
from ..grouping import group_nodes
from ..project import Project
from ..settings.models import RunConfig, UploadedData
from ..settings.per_step import is_cached, resources_of, step_resources
from .crossings import check_data
from .datasets import Artifact, Lookup, Makers, Step, datasets_in, is_made_in, trace_data
from .fingerprint import Definitions, fingerprint
from .place_index import PlaceIndex
from .raw import RawData
from .refusals import (
    check_known,
    parameters_in,
    refuse_confirms,
    refuse_missing_inputs,
    refuse_missing_parameters,
)
from .typed_parameters import types_of, with_types


@dataclass(frozen=True)
class Reused:
    """An artifact of an earlier job that is taken as it is.

    Args:
        key, type: its key and type here.
        uri, metadata: what that job has said of it.
        members: keys of those artifacts that are taken from it, if it is an index of several.
    """

    key: str
    type: str
    uri: str
    metadata: Mapping[str, Any]
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A pipeline cut into steps, in an order in which they can run.

    Args:
        pipeline: name of the Kedro pipeline.
        steps: every node is in exactly one of them.
        artifacts: dataset → the KFP artifact that carries or describes it, by the name under which it is made.
        artifact_inputs: name of a step → the artifacts that it takes, by those names.
        versions: name of a step → versioned dataset that it loads → the name under which that was made.
        on_exit: Kedro pipeline of the exit task.
        registry: ``run_config.registry``, if the pipeline makes its model.
        raw: files that steps read and no step makes, so they were uploaded, or must be in the image.
        reads: name of a step → such files and folders that it reads.
        inputs: name of a step → datasets of the catalog that no step makes, and that it is the first one to read.
        warnings: what may not be what the user wants, in whole sentences.
        selection: which part of the pipeline it is, by the arguments of Kedro's ``Pipeline.filter``.
        resumed: the job that is resumed, see ``JobArguments``; the steps that do not run again are not in ``steps``.
        reused: the artifacts of that job that are taken.
        must_exist: path or URI of what is taken of steps that do not run again → the node that makes it.
    """

    pipeline: str
    steps: tuple[Step, ...]
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    artifact_inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    on_exit: str | None = None
    registry: Mapping[str, Any] = field(default_factory=dict)
    raw: tuple[RawData, ...] = ()
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    selection: Mapping[str, Any] = field(default_factory=dict)
    resumed: Mapping[str, Any] = field(default_factory=dict)
    reused: tuple[Reused, ...] = ()
    must_exist: Mapping[str, str] = field(default_factory=dict)


def plan_pipeline(
    project: Project, name: str, selection: Mapping[str, Any] | None = None, allow_unused: bool = False
) -> Plan:
    """Plan a registered pipeline, or a part of it.

    Args:
        project: the project in its environment.
        name: name of the pipeline in the registry.
        selection: which part of it, by the arguments of Kedro's ``Pipeline.filter``.
        allow_unused: whether runtime parameters may be given that nobody seems to use.

    Raises:
        UserError: when it cannot become a pipeline job, or a runtime parameter would change nothing.
    """
    run_config = project.settings.run_config
    if run_config.is_remote:
        project.refuse_configuration_elsewhere()
    catalog = Catalog(project.config("catalog"), "catalog.yml")
    hooks = project.session_hooks
    warnings: list[str] = []
    on_exit = Pipeline([])
    if run_config.on_exit_pipeline:
        on_exit = project.pipeline(run_config.on_exit_pipeline)
        warnings += refuse_missing_inputs(run_config.on_exit_pipeline, on_exit, catalog.entry, hooks)
        warnings += _refuse_parameters(project, run_config.on_exit_pipeline, on_exit)
    pipeline = project.pipeline(name, selection)
    if project.params and not allow_unused:
        consumed = parameters_in(project.pipeline(name).inputs() | on_exit.inputs())
        used = project.configuration.runtime_params | set(run_config.hook_params)
        check_known(project.params, project.declared_parameters, consumed, used, name)
    whole = project.pipeline(name) if selection else None
    surroundings = Surroundings(tuple(sorted(on_exit.inputs())), project.settings.data, hooks, whole)
    plan = make_plan(name, pipeline, run_config, catalog.entry, surroundings)
    warnings += _refuse_parameters(project, name, pipeline)
    marked = Catalog(project.marked("catalog"), "catalog.yml")
    uploads: dict[str, list[str]] = {}
    for raw in plan.raw:
        if raw.uploaded:
            for dataset in raw.datasets:
                uploads.setdefault(dataset, []).append(raw.uploaded.sha256)
    definitions = Definitions(
        root=project.path,
        parameters=by_name(project.marked("parameters")),
        types=types_of(project.pipelines_with(name)),
        entry=marked.written,
        class_of=marked.class_of,
        resolvers=project.configuration.resolvers,
        uploaded={name: ",".join(hashes) for name, hashes in uploads.items()},
    )
    plan = with_fingerprints(plan, pipeline, definitions)
    warnings += project.resolver_warnings
    registry = _registry(project, pipeline, catalog.entry)
    return replace(plan, selection=selection or {}, registry=registry, warnings=(*warnings, *plan.warnings))


def _refuse_parameters(project: Project, name: str, pipeline: Pipeline) -> list[str]:
    """Refuse a pipeline whose nodes do not accept parameters, or take some that are not set.

    Returns:
        What hooks must do about such parameters, each in a whole sentence.
    """
    parameters, warnings = with_types(
        project.config("parameters"), name, project.pipelines_with(name), project.context_hooks
    )
    return warnings + refuse_missing_parameters(name, pipeline, parameters, project.session_hooks)


def _registry(project: Project, pipeline: Pipeline, lookup: Lookup) -> dict[str, Any]:
    """``run_config.registry`` for the last task; empty if this pipeline does not make the model.

    Raises:
        UserError: when the dataset is no model, or no pipeline makes it.
    """
    config = project.settings.run_config.registry
    if config.model is None:
        return {}
    where = f"{project.settings_file}: run_config.registry.model: {config.model}"
    entry = lookup(config.model)
    if entry is None or entry.storage != "model":
        raise UserError(
            f"{where}: this must be a dataset of catalog.yml with "
            "type: kedro_mlflow.io.models.MlflowModelTrackingDataset, which logs the model in the job's MLflow run."
        )
    if any(config.model in node.outputs for node in pipeline.nodes):
        gate = {"gate": config.gate.model_dump(exclude_none=True)} if config.gate.metric else {}
        return {"model": config.model, "name": config.name, **gate}
    if config.model not in project.made_datasets:
        raise UserError(f"{where}: no pipeline makes it.{did_you_mean(config.model, project.made_datasets)}")
    return {}


def with_fingerprints(plan: Plan, pipeline: Pipeline, definitions: Definitions) -> Plan:
    """Note for each step what its result depends on; see ``fingerprint``."""
    nodes = {node.name: node for node in pipeline.nodes}
    steps = []
    for step in plan.steps:
        text, not_comparable = fingerprint([nodes[name] for name in step.nodes], definitions, step.resources.env)
        steps.append(replace(step, fingerprint=text, not_comparable=not_comparable))
    return replace(plan, steps=tuple(steps))


@dataclass(frozen=True)
class Surroundings:
    """What else a plan depends on, besides the pipeline, the settings and the catalog.

    Args:
        at_exit: the datasets that ``on_exit_pipeline`` takes.
        uploaded: path → what was uploaded of it.
        hooks: what may add datasets to the catalog when a session is created.
        whole: the whole pipeline, if only a part of it is planned.
    """

    at_exit: tuple[str, ...] = ()
    uploaded: Mapping[str, UploadedData] = field(default_factory=dict)
    hooks: Sequence[str] = ()
    whole: Pipeline | None = None


def make_plan(
    name: str,
    pipeline: Pipeline,
    run_config: RunConfig,
    lookup: Lookup,
    surroundings: Surroundings | None = None,
) -> Plan:
    """Cut a pipeline into steps.

    Args:
        name: name of the pipeline in the registry.
        pipeline: the Kedro pipeline.
        run_config: ``run_config`` of ``vertexai.yml``.
        lookup: what the catalog says about a dataset.
        surroundings: what else the plan depends on.

    Raises:
        UserError: when two steps would have one task name, steps wait for each other, or a dataset is missing.
    """
    surroundings = surroundings or Surroundings()
    hook_warnings = refuse_missing_inputs(name, pipeline, lookup, surroundings.hooks, surroundings.whole)
    order = order_by_place(pipeline, lookup)
    groups = group_nodes(pipeline, run_config.grouping, lambda node: resources_of(node, run_config), order)
    nodes_of = {group: nodes for group, (nodes, _before) in groups.items()}
    names = _task_names(nodes_of)
    remote = run_config.is_remote
    steps = []
    for group, (nodes, before) in groups.items():
        outputs = datasets_in(dataset for node in nodes for dataset in node.outputs)
        inputs = datasets_in(dataset for node in nodes for dataset in node.inputs if not is_made_in(dataset, outputs))
        # On one disk, a step that is skipped would leave its files as somebody else may have changed them.
        within_job = {"memory", "disk"} if remote else {"memory"}
        writes_out = any((entry := lookup(name)) and entry.storage not in within_job for name in outputs)
        reads_out = any((entry := lookup(name)) and entry.storage not in ("memory", "disk") for name in inputs)
        steps.append(
            Step(
                name=names[group],
                nodes=tuple(node.name for node in nodes),
                inputs=inputs,
                outputs=outputs,
                after=tuple(sorted(names[other] for other in before)),
                resources=step_resources(group, nodes, run_config),
                made_before={dataset: _made_before(dataset, nodes) for dataset in inputs} if len(nodes) > 1 else {},
                cached=is_cached(group, nodes, run_config, reaches_out=writes_out or reads_out),
            )
        )
    refuse_confirms(nodes_of, lookup, remote)
    makers = Makers(steps, lookup)
    flow = trace_data(steps, makers, surroundings.uploaded)
    sentences: dict[str, list[str]] = {"impossible": [], "problem": [], "warning": []}
    for finding in check_data(steps, makers, flow, datasets_in(surroundings.at_exit)):
        sentences[finding.severity].append(finding.sentence)
    if problems := [*sentences["impossible"], *(sentences["problem"] if remote else ())]:
        raise UserError("\n".join(problems))
    by_tag = [step.name for step in steps if step.cached and not is_digest(step.resources.image or run_config.image)]
    warnings = sentences["warning"]
    if by_tag:
        warnings.append(
            f"{', '.join(by_tag)}: results are cached only when the image is named by digest, because a tag can point "
            "to different code later. Launch with --auto-build, or with -i …@sha256:…"
        )
    return Plan(
        pipeline=name,
        steps=tuple(steps),
        artifacts=flow.artifacts,
        artifact_inputs=flow.artifact_inputs,
        versions=flow.versions,
        on_exit=run_config.on_exit_pipeline,
        raw=flow.raw if remote else (),
        reads={step.name: tuple(raw.place for raw in flow.raw if step.name in raw.steps) for step in steps},
        inputs=_free_inputs(steps, lookup),
        warnings=(*hook_warnings, *(warnings if remote else ())),
    )


def _free_inputs(steps: Sequence[Step], lookup: Lookup) -> dict[str, tuple[str, ...]]:
    """Step → the catalog's datasets that no step makes, and that it is the first one to read."""
    made_or_read = [name for step in steps for name in step.outputs]
    inputs = {}
    for step in steps:
        names = [name for name in step.inputs if lookup(name) and not is_made_in(name, made_or_read)]
        inputs[step.name] = tuple(names)
        made_or_read += names
    return {step: names for step, names in inputs.items() if names}


def order_by_place(pipeline: Pipeline, lookup: Lookup) -> dict[Node, set[Node]]:
    """Find nodes that only their order in ``kedro run`` keeps apart: one writes what the other reads or writes, too.

    Args:
        pipeline: the pipeline.
        lookup: what the catalog says about a dataset.

    Returns:
        Node → nodes that must run before it, because they use the same file or table by another name.
    """
    users = PlaceIndex()
    writers = PlaceIndex()
    node_of = {node.name: node for node in pipeline.nodes}
    before: dict[Node, set[Node]] = {}
    for node in pipeline.nodes:
        entries = {name: entry for name in (*node.inputs, *node.outputs) if (entry := lookup(name))}
        for name, entry in entries.items():
            for address in entry.addresses:
                earlier = users.find(address) if name in node.outputs else writers.find(address)
                before.setdefault(node, set()).update(node_of[other] for other in earlier)
        for name, entry in entries.items():
            for address in entry.addresses:
                users.add(address, node.name)
                if name in node.outputs:
                    writers.add(address, node.name)
    return {node: nodes - {node} for node, nodes in before.items()}


def _made_before(dataset: str, nodes: Sequence[Node]) -> tuple[str, ...]:
    """The outputs of those nodes that run before the first one that takes a dataset."""
    nodes_before = takewhile(lambda node: dataset not in node.inputs, nodes)
    return tuple(output for node in nodes_before for output in node.outputs)


def _task_names(groups: Mapping[str, list[Node]]) -> dict[str, str]:
    """Group → its task. Of names that would become one task, such as ``a_b`` and ``A.b``, each gets a hash."""
    names = {group: task_name(group) for group in groups}
    uses = Counter(names.values())
    for group, task in names.items():
        shown = f"Node '{group}'" if [node.name for node in groups[group]] == [group] else f"Group '{group}'"
        if task in (START_TASK, FINISH_TASK):
            raise UserError(f"{shown} would become the task '{task}', which is reserved for MLflow. Rename it.")
        if task.startswith((IMPORT_PREFIX, GATHER_PREFIX)):
            raise UserError(f"{shown} would become the task '{task}', a name that only importers have. Rename it.")
    return {group: with_hash(task, group) if uses[task] > 1 else task for group, task in names.items()}
