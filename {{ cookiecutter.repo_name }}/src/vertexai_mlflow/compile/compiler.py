"""``Plan`` → KFP pipeline spec, the JSON that Vertex AI Pipelines and ``local`` execute.

The graph of every spec is an exit handler around ``mlflow-start-run`` and, after it, one task for each step. When all
of that has ended, well or badly, ``mlflow-finish-run`` runs and is told how it ended.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from google.protobuf import json_format
from kfp import dsl
from kfp.dsl import structures
from kfp.dsl.container_component_class import ContainerComponent

from .. import contract
from ..contract.arguments import StepArguments
from ..contract.uploaded import Code
from ..errors import UserError
from ..project import Project
from ..settings.models import RunConfig
from ..settings.resources import Resources
from .datasets import Artifact
from .importers import SCHEMA_VERSION, import_raw, import_reused, told_of
from .plan import Plan
from .raw import RawData

_STATUS_TYPE = "PipelineTaskFinalStatus"
# Seconds between the first two attempts at a step; the pause doubles each time.
_RETRY_AFTER = "10s"
# Bytes that one artifact takes in the executor input, besides its key (which stands there three times) and its own
# metadata: name, type, URI, and what a step finds out. Vertex AI's names and URIs are longer than this machine's.
_ARTIFACT_SIZE, _REMOTE_ARTIFACT_SIZE = 400, 700

_Types = Mapping[str, str]


def compile_pipeline(
    project: Project,
    plan: Plan,
    image: str | None = None,
    load_versions: Mapping[str, str] | None = None,
    is_async: bool = False,
    cache_here: bool = False,
    code: Code | None = None,
) -> dict[str, Any]:
    """Compile a plan of the project; its ``params`` default to the project's runtime parameters.

    Args:
        project: the project in its environment.
        plan: see ``plan_pipeline``.
        image: container image of the steps, if not ``run_config.image``.
        load_versions: dataset → the version that steps load, as for ``kedro run``.
        is_async: whether steps load and save their datasets side by side, as for ``kedro run``.
        cache_here: whether the spec is for this machine, see ``compile_plan``.
        code: the code that the steps run instead of the image's.

    Raises:
        UserError: when a step is told more than fits.
    """
    run_config = project.settings.run_config
    if image:
        run_config = run_config.model_copy(update={"image": image})
    common = StepArguments(
        "",
        plan.pipeline,
        env=project.env or "",
        conf_source=project.conf_source or "",
        load_versions=load_versions or {},
        is_async=is_async,
    )
    return compile_plan(
        plan, run_config, project.package_name, common, project.params, cache_here, project.resolved_at_start, code
    )


def compile_plan(
    plan: Plan,
    run_config: RunConfig,
    package: str,
    common: StepArguments | None = None,
    params: Mapping[str, Any] | None = None,
    cache_here: bool = False,
    resolve: Mapping[str, Any] | None = None,
    code: Code | None = None,
) -> dict[str, Any]:
    """Build the pipeline spec.

    Args:
        plan: what to run.
        run_config: ``run_config`` of ``vertexai.yml``.
        package: the project's Python package. The pipeline is named after it and, except for ``__default__``, after
            the Kedro pipeline.
        common: what all steps are told.
        params: default of the pipeline's ``params``.
        cache_here: whether results of earlier runs may be taken although a step's image is not named by digest. Vertex
            AI does not look what a tag stands for today, and would take results of other code.
        resolve: values of the configuration that the first task resolves for all steps.
        code: the code that the steps run instead of the image's.

    Returns:
        The spec as the KFP SDK serialises it (``schemaVersion`` 2.1.0), its tasks in the order they can run.

    Raises:
        UserError: when the executor input of a step could become too long for an argument.
    """
    image, aliases = run_config.image, run_config.network.host_aliases
    addresses = {name: str(alias.ip) for alias in aliases for name in alias.hostnames}
    common = replace(common or StepArguments("", ""), pipeline=plan.pipeline, host_aliases=addresses)
    default: dict[str, Any] = contract.encode(params or {})
    entry = [contract.UPLOADED_MODULE, code.uri] if code else [contract.STEP_MODULE]
    _refuse_what_does_not_fit(plan, default, run_config.root)

    def component(
        name: str, inputs: _Types, outputs: _Types, own_image: str | None = None, **arguments: Any
    ) -> ContainerComponent:
        args = replace(common, task=name, **arguments).argv()
        for option, _, said in (argument.partition("=") for argument in args if argument.startswith("--")):
            if "{{$" in said:
                raise UserError(f"Task '{name}', {option}: KFP replaces '{{{{$' in names and paths. ({said})")
        container = structures.ContainerSpecImplementation(
            image=own_image or image, command=["python", "-m", *entry], args=args
        )
        spec = structures.ComponentSpec(
            name=name,
            implementation=structures.Implementation(container=container),
            inputs={key: structures.InputSpec(type_, optional=type_ == _STATUS_TYPE) for key, type_ in inputs.items()},
            outputs={key: structures.OutputSpec(type_) for key, type_ in outputs.items()},
        )
        return ContainerComponent(spec, pipeline_func=None)

    # The steps take it only where there is such a thing. A step without it is found in the cache more often.
    resolved = {contract.RESOLVED: "Dict"} if resolve else {}
    at_start = (resolve or {}).get("catalog", {})
    start = component(
        contract.START_TASK,
        {contract.PARAMS: "Dict"},
        {contract.MLFLOW_RUN: "String", **resolved},
        image=image,
        code={"uri": code.uri, "commit": code.commit, "dirty": code.is_dirty} if code else {},
        resolve=resolve or {},
        selection=plan.selection,
        resumed=plan.resumed,
    )
    finish = component(
        contract.FINISH_TASK, {contract.STATUS: _STATUS_TYPE, contract.PARAMS: "Dict"}, {}, on_exit=plan.on_exit or ""
    )

    def build(params: dict[str, Any] = default) -> None:
        with dsl.ExitHandler(finish(params=params).set_caching_options(False), name=contract.GRAPHS[0]):
            started = start(params=params).set_caching_options(False)
            tasks: dict[str, dsl.PipelineTask] = {}
            # Key of an artifact → KFP's channel of it.
            made: dict[str, Any] = {raw.key: import_raw(raw) for raw in plan.raw if raw.uploaded}
            made |= {reused.key: import_reused(reused) for reused in plan.reused}
            for step in plan.steps:
                taken = {name: plan.artifacts[name] for name in plan.taken[step.name]}
                given = {name: plan.artifacts[name] for name in step.outputs if name in plan.artifacts}
                fetched = [raw for raw in plan.raw if raw.uploaded and step.name in raw.steps]
                inputs, outputs = _types([*taken.values(), *fetched]), _types(given.values())
                task = component(
                    step.name,
                    {contract.PARAMS: "Dict", **resolved, **inputs},
                    outputs,
                    step.resources.image,
                    nodes=step.nodes,
                    artifacts=_keys({**taken, **given}, "pickle"),
                    files=_keys({**taken, **given}, "files"),
                    raw={raw.place: raw.key for raw in fetched},
                    models=_keys({**taken, **given}, "model"),
                    lineage={name: _lineage(artifact, name in at_start) for name, artifact in given.items()},
                    timeout=step.resources.timeout or 0,
                    fingerprint=step.fingerprint,
                    reads=[*plan.reads.get(step.name, ()), *filter(None, [common.conf_source])],
                )(
                    params=params,
                    **{key: started.outputs[key] for key in resolved},
                    **{key: made[key] for key in inputs},
                )
                task.after(started, *(tasks[name] for name in step.after))
                task.set_display_name(contract.shortened(step.nodes[0] if len(step.nodes) == 1 else step.name))
                named_by_digest = contract.is_digest(step.resources.image or image)
                task.set_caching_options(step.cached and (named_by_digest or cache_here))
                _ask_for(task, step.resources)
                tasks[step.name] = task
                made |= {key: task.outputs[key] for key in outputs}

    name = package if plan.pipeline == "__default__" else f"{package}-{plan.pipeline}"
    about = {"name": contract.task_name(name), "description": run_config.description}
    pipeline = dsl.pipeline(**about, pipeline_root=run_config.root)(build)
    return _in_run_order(json_format.MessageToDict(pipeline.pipeline_spec), plan)


def _types(artifacts: Iterable[Artifact | RawData]) -> _Types:
    return {artifact.key: artifact.type + SCHEMA_VERSION for artifact in artifacts}


def _keys(artifacts: Mapping[str, Artifact], travels: str) -> dict[str, str]:
    return {name: artifact.key for name, artifact in artifacts.items() if artifact.travels == travels}


def _lineage(artifact: Artifact, moves: bool) -> dict[str, Any]:
    return {
        "key": artifact.key,
        # What the clock decides is not known before the job runs.
        "uri": None if moves else artifact.uri,
        "metadata": dict(artifact.metadata),
        "numbers": artifact.is_metrics,
    }


def _refuse_what_does_not_fit(plan: Plan, params: Any, root: str | None) -> None:
    size = _ARTIFACT_SIZE if root is None or contract.is_local(root) else _REMOTE_ARTIFACT_SIZE
    parameters = len(json.dumps(params, ensure_ascii=False).encode())
    if parameters > contract.MAX_EXECUTOR_INPUT:
        raise UserError(
            f"--params: these take {parameters // 1024} KiB. Each step gets them in one argument, which has "
            f"{contract.MAX_EXECUTOR_INPUT // 1024} KiB. Put large values into parameters.yml or into a dataset."
        )
    for step in plan.steps:
        artifacts = 0
        names = (*plan.taken[step.name], *step.outputs)
        for artifact in (plan.artifacts[name] for name in names if name in plan.artifacts):
            metadata = contract.MAX_METADATA if artifact.is_metrics else len(json.dumps(dict(artifact.metadata)))
            artifacts += size + 3 * len(artifact.key) + min(metadata, contract.MAX_METADATA)
        for raw in plan.raw:
            if raw.uploaded and step.name in raw.steps:
                artifacts += size + 3 * len(raw.key) + len(json.dumps(told_of(raw)))
        if artifacts > contract.MAX_ARTIFACTS or artifacts + parameters > contract.MAX_EXECUTOR_INPUT:
            raise UserError(
                f"Step '{step.name}' takes {len(step.inputs)} datasets and makes {len(step.outputs)}. What it is told "
                f"about them can take {artifacts // 1024} KiB, and its parameters take {parameters // 1024} KiB. "
                f"That does not fit into an argument: {contract.MAX_ARTIFACTS // 1024} KiB are for datasets, and "
                f"{contract.MAX_EXECUTOR_INPUT // 1024} KiB in all. Let its nodes exchange fewer datasets, for "
                "instance one dictionary, or group them with the nodes that they exchange data with "
                "(run_config.grouping)."
            )


def _ask_for(task: dsl.PipelineTask, resources: Resources) -> None:
    if resources.cpu:
        task.set_cpu_limit(resources.cpu)
    if resources.memory:
        task.set_memory_limit(resources.memory_limit)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu_type)
        task.set_accelerator_limit(resources.gpu)
    if resources.retries:
        task.set_retry(num_retries=resources.retries, backoff_duration=_RETRY_AFTER)


def _in_run_order(spec: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Protobuf maps have no order. People who read the file, and files that must not differ, need one."""
    spec = json.loads(json.dumps(spec, sort_keys=True))
    importers = sorted(map(contract.importer_name, [*(raw.key for raw in plan.raw), *(one.key for one in plan.reused)]))
    names = [contract.START_TASK, *importers, *(step.name for step in plan.steps)]
    order = {name: number for number, name in enumerate(names)}

    def by_order(items: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        names = sorted(items, key=lambda name: (order.get(name.removeprefix(prefix), len(order)), name))
        return {name: items[name] for name in names}

    for component in [spec["root"], *spec["components"].values()]:
        if "dag" in component:
            component["dag"]["tasks"] = by_order(component["dag"]["tasks"])
    spec["components"] = by_order(spec["components"], "comp-")
    spec["deploymentSpec"]["executors"] = by_order(spec["deploymentSpec"]["executors"], "exec-")
    return spec
