"""``Plan`` → KFP pipeline spec, the JSON that Vertex AI Pipelines and ``local`` execute.

The graph of every spec: an exit handler around ``mlflow-start-run`` and, after it, one task per step; when all of that
has ended, however it ended, ``mlflow-finish-run`` runs and is told how.
"""

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from kfp import dsl
from kfp.dsl import structures
from kfp.dsl.container_component_class import ContainerComponent

from .params import encode
from .plan import FINISH_TASK, START_TASK, Artifact, Plan, Step, task_name
from .resources import Resources

_SCHEMA_VERSION = "@0.0.1"  # of artifact types
_STATUS = "PipelineTaskFinalStatus"
_Types = Mapping[str, str]

# Seconds between the first two attempts at a step, doubled each time.
_RETRY_AFTER = "10s"

# What a task is told of its job: as placeholders, not as task inputs, which Vertex's cache key covers; these differ
# in every run.
_JOB = [
    *("--job-name", dsl.PIPELINE_JOB_NAME_PLACEHOLDER),
    *("--job-id", dsl.PIPELINE_JOB_ID_PLACEHOLDER),
    *("--job-resource-name", dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER),
    *("--task-name", dsl.PIPELINE_TASK_NAME_PLACEHOLDER),
]


def compile_plan(
    plan: Plan,
    *,
    project_name: str,
    package: str,
    image: str,
    env: str | None = None,
    params: Mapping[str, Any] | None = None,
    root: str | None = None,
    description: str | None = None,
    host_aliases: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Build the pipeline spec.

    Args:
        plan: what to run.
        project_name: the pipeline is called after it and, but for ``__default__``, after the Kedro pipeline.
        package: the project's Python package, whose ``vertexai.step`` is every container's command.
        image: container image of the steps.
        env: Kedro configuration environment in the steps.
        params: default of the pipeline's ``params``.
        root: pipeline root.
        description: shown beside the pipeline.
        host_aliases: host name → address, in the steps.

    Returns:
        The spec as the KFP SDK serialises it (``schemaVersion`` 2.1.0), its tasks in the order they can run.
    """
    command = ["python", "-m", f"{package}.vertexai.step"]
    common = ["--executor-input", "{{$}}", "--pipeline", plan.pipeline, *(["--env", env] if env else []), *_JOB]
    common += ["--host-aliases", json.dumps(host_aliases)] if host_aliases else []

    def component(
        name: str, arguments: list[str], inputs: _Types, outputs: _Types, own_image: str | None = None
    ) -> ContainerComponent:
        container = structures.ContainerSpecImplementation(
            image=own_image or image, command=command, args=[*arguments, *common]
        )
        spec = structures.ComponentSpec(
            name=name,
            implementation=structures.Implementation(container=container),
            inputs={key: structures.InputSpec(type_, optional=type_ == _STATUS) for key, type_ in inputs.items()},
            outputs={key: structures.OutputSpec(type_) for key, type_ in outputs.items()},
        )
        return ContainerComponent(spec, pipeline_func=None)

    start = component(START_TASK, ["--start-run", "--image", image], {}, {"mlflow_run": "String"})
    on_exit = ["--on-exit", plan.on_exit] if plan.on_exit else []
    finish = component(FINISH_TASK, ["--finish-run", *on_exit], {"status": _STATUS, "params": "Dict"}, {})

    def build(params: dict[str, Any] = encode(params or {})) -> None:  # noqa: B008 - KFP reads the default
        with dsl.ExitHandler(_cached(finish(params=params), False), name="kedro-pipeline"):
            started = _cached(start(), False)
            tasks: dict[str, dsl.PipelineTask] = {}
            made: dict[str, dsl.PipelineArtifactChannel] = {}
            for step in plan.steps:
                taken = {name: plan.artifacts[name] for name in step.inputs if name in plan.artifacts}
                given = {name: plan.artifacts[name] for name in step.outputs if name in plan.artifacts}
                task = component(
                    step.name,
                    ["--nodes", json.dumps(step.nodes), *_data(taken, given), *_timeout(step.resources)],
                    {"params": "Dict", **_types(taken)},
                    _types(given),
                    step.resources.image,
                )(params=params, **{artifact.key: made[name] for name, artifact in taken.items()})
                task.after(started, *(tasks[name] for name in step.after))
                task.set_display_name(step.nodes[0] if len(step.nodes) == 1 else step.name)
                _ask_for(_cached(task, step.cached), step.resources)
                tasks[step.name] = task
                made |= {name: task.outputs[artifact.key] for name, artifact in given.items()}

    name = project_name if plan.pipeline == "__default__" else f"{project_name}-{plan.pipeline}"
    pipeline = dsl.pipeline(name=task_name(name), description=description, pipeline_root=root)(build)
    return _in_run_order(json_format.MessageToDict(pipeline.pipeline_spec), plan.steps)


def _types(artifacts: Mapping[str, Artifact]) -> _Types:
    return {artifact.key: artifact.type + _SCHEMA_VERSION for artifact in artifacts.values()}


def _data(taken: Mapping[str, Artifact], given: Mapping[str, Artifact]) -> list[str]:
    """What a step is told of its artifacts: where those are that travel, and what lineage is to know of its own."""
    travelling = {name: artifact.key for name, artifact in {**taken, **given}.items() if artifact.travels}
    lineage = {
        name: {"key": artifact.key, "uri": artifact.uri, "metadata": dict(artifact.metadata)}
        for name, artifact in given.items()
    }
    return [
        *("--artifacts", json.dumps(travelling)),
        *(["--lineage", json.dumps(lineage)] if lineage else []),
    ]


def _timeout(resources: Resources) -> list[str]:
    """Pipeline specs have no timeout: the step's own process keeps it."""
    return ["--timeout", str(resources.timeout)] if resources.timeout else []


def _cached(task: dsl.PipelineTask, cached: bool) -> dsl.PipelineTask:
    return task.set_caching_options(enable_caching=cached)


def _ask_for(task: dsl.PipelineTask, resources: Resources) -> None:
    if resources.cpu:
        task.set_cpu_limit(resources.cpu)
    if resources.memory:
        task.set_memory_limit(resources.memory)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu_type)
        task.set_accelerator_limit(resources.gpu)
    if resources.retries:
        task.set_retry(num_retries=resources.retries, backoff_duration=_RETRY_AFTER)


def _in_run_order(spec: dict[str, Any], steps: tuple[Step, ...]) -> dict[str, Any]:
    """Protobuf maps have no order; people who read the file, and files that must not differ, need one."""
    order = {name: number for number, name in enumerate([START_TASK, *(step.name for step in steps)])}

    def by_order(items: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        names = sorted(items, key=lambda name: (order.get(name.removeprefix(prefix), len(order)), name))
        return {name: items[name] for name in names}

    for component in [spec["root"], *spec["components"].values()]:
        if "dag" in component:
            component["dag"]["tasks"] = by_order(component["dag"]["tasks"])
    spec["components"] = by_order(spec["components"], "comp-")
    spec["deploymentSpec"]["executors"] = by_order(spec["deploymentSpec"]["executors"], "exec-")
    return spec
