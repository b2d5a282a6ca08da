"""``Plan`` → KFP pipeline spec, the JSON that Vertex AI Pipelines and ``local`` execute.

The graph of every spec is an exit handler around ``mlflow-start-run`` and, after it, one task for each step. When all
of that has ended, well or badly, ``mlflow-finish-run`` runs and is told how it ended.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from kfp import dsl
from kfp.dsl import structures
from kfp.dsl.container_component_class import ContainerComponent

from ..contract import limits, names, params, places
from ..contract.arguments import JobArguments, StepArguments, TaskArguments
from ..contract.launch import Launch
from ..contract.spec import packed, with_arguments
from ..errors import UserError
from ..project import Project
from ..settings.models import RunConfig
from ..settings.resources import Resources
from .datasets import Artifact, Step
from .importers import SCHEMA_VERSION, describe, import_raw, import_reused
from .plan import Plan
from .raw import RawData
from .refusals import refuse_lost_versions

_STATUS_TYPE = "PipelineTaskFinalStatus"
# Seconds between the first two attempts at a step; the pause doubles each time.
_RETRY_AFTER = "10s"
# Bytes that one artifact takes in the executor input, besides its key (which is written there three times) and its own
# metadata: name, type, URI, and what a step finds out. Vertex AI's names and URIs are longer than this machine's.
_ARTIFACT_SIZE = 400
_REMOTE_ARTIFACT_SIZE = 700

_Types = Mapping[str, str]


def compile_pipeline(project: Project, plan: Plan, launch: Launch, cache_here: bool = False) -> dict[str, Any]:
    """Compile a plan of the project; see ``compile_plan``.

    Raises:
        UserError: also when a version is to be loaded that the steps cannot have.
    """
    refuse_lost_versions(launch.load_versions, plan.raw, project.path)
    spec = compile_plan(plan, launch, project.settings.run_config, project.resolved_at_start, cache_here)
    return with_arguments(spec, {"hidden": json.dumps(hidden) if (hidden := project.hidden_parameters) else ""})


def compile_plan(
    plan: Plan,
    launch: Launch,
    run_config: RunConfig,
    resolve: Mapping[str, Any] | None = None,
    cache_here: bool = False,
) -> dict[str, Any]:
    """Build the pipeline spec.

    Args:
        plan: the steps.
        launch: what they run with. Its ``params`` are the default of the pipeline's.
        run_config: ``run_config`` of ``vertexai.yml``.
        resolve: values of the configuration that the first task resolves for all steps.
        cache_here: whether results of earlier runs may be taken although a step's image is not named by digest. Vertex
            AI does not look what a tag stands for today, and would take results of other code.

    Returns:
        The spec as the KFP SDK serialises it (``schemaVersion`` 2.1.0), its tasks in the order they can run.

    Raises:
        UserError: when the executor input of a step could become too long for an argument.
    """
    default_params: dict[str, Any] = params.encode(launch.params)
    _refuse_what_does_not_fit(plan, default_params, run_config.root)
    components = _Components(plan, launch, run_config, resolve or {})

    def build(params: dict[str, Any] = default_params) -> None:
        finish = components.finish()(params=params).set_caching_options(False)
        with dsl.ExitHandler(finish, name=names.GRAPHS[0]):
            started = components.start()(params=params).set_caching_options(False)
            tasks: dict[str, dsl.PipelineTask] = {}
            # Key of an artifact → KFP's channel of it.
            channels: dict[str, Any] = {raw.key: import_raw(raw) for raw in plan.raw if raw.uploaded}
            channels |= {reused.key: import_reused(reused) for reused in plan.reused}
            for step in plan.steps:
                values = {key: started.outputs[key] for key in components.resolved}
                inputs = {key: channels[key] for key in components.inputs_of(step)}
                task = components.step(step)(params=params, **values, **inputs)
                task.after(started, *(tasks[name] for name in step.after))
                task.set_display_name(names.shortened(step.nodes[0] if len(step.nodes) == 1 else step.name))
                named_by_digest = names.is_digest(step.resources.image or components.image)
                task.set_caching_options(step.cached and (named_by_digest or cache_here))
                _ask_for(task, step.resources)
                tasks[step.name] = task
                channels |= {key: task.outputs[key] for key in components.outputs_of(step)}

    name = launch.package if plan.pipeline == "__default__" else f"{launch.package}-{plan.pipeline}"
    naming = {"name": names.task_name(name), "description": run_config.description}
    pipeline = dsl.pipeline(**naming, pipeline_root=run_config.root)(build)
    spec = _in_run_order(json_format.MessageToDict(pipeline.pipeline_spec), plan)
    # The first task keeps the spec in the job's MLflow run, and reads in it which steps there are.
    return with_arguments(spec, {"spec": packed(spec)})


class _Components:
    """The KFP components of a plan: that of the first task, those of the steps, and that of the last task."""

    def __init__(self, plan: Plan, launch: Launch, run_config: RunConfig, resolve: Mapping[str, Any]) -> None:
        self._plan, self._launch, self._resolve = plan, launch, resolve
        self.image = launch.image or run_config.image
        self._system_metrics = run_config.mlflow.system_metrics
        self._root = run_config.root if run_config.root and not places.is_local(run_config.root) else ""
        # The steps take these where there are any. A step without them is found in the cache more often.
        self.resolved: _Types = {names.RESOLVED: "Dict"} if resolve else {}
        aliases = run_config.network.host_aliases
        self._common: dict[str, Any] = {
            "pipeline": plan.pipeline,
            "env": launch.env,
            "conf_source": launch.conf_source,
            "load_versions": launch.load_versions,
            "is_async": launch.is_async,
            "host_aliases": {name: str(alias.ip) for alias in aliases for name in alias.hostnames},
        }

    def start(self) -> ContainerComponent:
        """``mlflow-start-run``"""
        code = self._launch.code
        arguments = JobArguments(
            **self._common,
            task=names.START_TASK,
            image=self.image,
            code={"uri": code.uri, "commit": code.commit, "dirty": code.is_dirty} if code else {},
            resolve=self._resolve,
            selection=self._plan.selection,
            resumed=self._plan.resumed,
        )
        outputs = {names.MLFLOW_RUN: "String", **self.resolved}
        return self._component(arguments, {names.PARAMS: "Dict"}, outputs)

    def finish(self) -> ContainerComponent:
        """``mlflow-finish-run``"""
        arguments = JobArguments(**self._common, task=names.FINISH_TASK, on_exit=self._plan.on_exit or "")
        return self._component(arguments, {names.STATUS: _STATUS_TYPE, names.PARAMS: "Dict"}, {})

    def step(self, step: Step) -> ContainerComponent:
        """The component of a step."""
        plan = self._plan
        outputs = self._artifacts(step.outputs)
        artifacts = {**self._artifacts(plan.taken[step.name]), **outputs}
        at_start = self._resolve.get("catalog", {})
        arguments = StepArguments(
            **self._common,
            task=step.name,
            nodes=step.nodes,
            artifacts=_keys(artifacts, "pickle"),
            files=_keys(artifacts, "files"),
            raw={raw.place: raw.key for raw in self._fetched_by(step)},
            models=_keys(artifacts, "model"),
            versions={
                **{name: artifact.key for name, artifact in outputs.items() if artifact.is_versioned},
                **{name: plan.artifacts[maker].key for name, maker in plan.versions[step.name].items()},
            },
            lineage={name: _lineage(artifact, name in at_start) for name, artifact in outputs.items()},
            timeout=step.resources.timeout or 0,
            imported=self._imported_by(step),
            root=self._root,
            fingerprint=step.fingerprint,
            reads=plan.reads.get(step.name, ()),
            inputs=plan.inputs.get(step.name, ()),
            system_metrics=self._system_metrics,
        )
        inputs = {names.PARAMS: "Dict", **self.resolved, **self.inputs_of(step)}
        return self._component(arguments, inputs, self.outputs_of(step), step.resources.image)

    def inputs_of(self, step: Step) -> _Types:
        """Key → type of each artifact that a step takes."""
        return _types([*self._artifacts(self._plan.taken[step.name]).values(), *self._fetched_by(step)])

    def outputs_of(self, step: Step) -> _Types:
        """Key → type of each artifact that a step makes."""
        return _types(self._artifacts(step.outputs).values())

    def _imported_by(self, step: Step) -> dict[str, dict[str, str]]:
        """What is known by now of the artifacts that a step takes and no step of the job makes."""
        keys = self.inputs_of(step).keys()
        uploads = {raw.key: raw.uploaded for raw in self._fetched_by(step) if raw.uploaded}
        known = {key: {"uri": uploaded.uri, "sha256": uploaded.sha256} for key, uploaded in uploads.items()}
        for reused in self._plan.reused:
            if reused.key in keys:
                known[reused.key] = {"uri": reused.uri, "sha256": str(reused.metadata.get("sha256", ""))}
        return known

    def _artifacts(self, datasets: Iterable[str]) -> dict[str, Artifact]:
        return {name: self._plan.artifacts[name] for name in datasets if name in self._plan.artifacts}

    def _fetched_by(self, step: Step) -> list[RawData]:
        return [raw for raw in self._plan.raw if raw.uploaded and step.name in raw.steps]

    def _component(
        self, arguments: TaskArguments, inputs: _Types, outputs: _Types, image: str | None = None
    ) -> ContainerComponent:
        args = arguments.argv()
        for option, _, value in (argument.partition("=") for argument in args if argument.startswith("--")):
            if "{{$" in value:
                raise UserError(
                    f"Task '{arguments.task}', {option}: KFP replaces '{{{{$' in names and paths. ({value})"
                )
        code = self._launch.code
        module = [names.UPLOADED_MODULE, code.uri] if code else [names.STEP_MODULE]
        container = structures.ContainerSpecImplementation(
            image=image or self.image, command=["python", "-m", *module], args=args
        )
        spec = structures.ComponentSpec(
            name=arguments.task,
            implementation=structures.Implementation(container=container),
            inputs={key: structures.InputSpec(type_, optional=type_ == _STATUS_TYPE) for key, type_ in inputs.items()},
            outputs={key: structures.OutputSpec(type_) for key, type_ in outputs.items()},
        )
        return ContainerComponent(spec, pipeline_func=None)


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
    size = _ARTIFACT_SIZE if root is None or places.is_local(root) else _REMOTE_ARTIFACT_SIZE
    parameters = len(json.dumps(params, ensure_ascii=False).encode())
    if parameters > limits.MAX_EXECUTOR_INPUT:
        raise UserError(
            f"--params: these take {parameters // 1024} KiB. Each step gets them in one argument, which has "
            f"{limits.MAX_EXECUTOR_INPUT // 1024} KiB. Put large values into parameters.yml or into a dataset."
        )
    for step in plan.steps:
        artifacts = 0
        datasets = (*plan.taken[step.name], *step.outputs)
        for artifact in (plan.artifacts[name] for name in datasets if name in plan.artifacts):
            metadata = limits.MAX_METADATA if artifact.is_metrics else len(json.dumps(dict(artifact.metadata)))
            artifacts += size + 3 * len(artifact.key) + min(metadata, limits.MAX_METADATA)
        for raw in plan.raw:
            if raw.uploaded and step.name in raw.steps:
                artifacts += size + 3 * len(raw.key) + len(json.dumps(describe(raw)))
        if artifacts > limits.MAX_ARTIFACTS or artifacts + parameters > limits.MAX_EXECUTOR_INPUT:
            raise UserError(
                f"Step '{step.name}' takes {len(step.inputs)} datasets and makes {len(step.outputs)}. What it is told "
                f"about them can take {artifacts // 1024} KiB, and its parameters take {parameters // 1024} KiB. "
                f"That does not fit into an argument: {limits.MAX_ARTIFACTS // 1024} KiB are for datasets, and "
                f"{limits.MAX_EXECUTOR_INPUT // 1024} KiB in all. Let its nodes exchange fewer datasets, for "
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
    keys = [*(raw.key for raw in plan.raw), *(reused.key for reused in plan.reused)]
    importers = sorted(map(names.importer_name, keys))
    tasks = [names.START_TASK, *importers, *(step.name for step in plan.steps)]
    order = {name: number for number, name in enumerate(tasks)}

    def by_order(items: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        ordered = sorted(items, key=lambda name: (order.get(name.removeprefix(prefix), len(order)), name))
        return {name: items[name] for name in ordered}

    for component in [spec["root"], *spec["components"].values()]:
        if "dag" in component:
            component["dag"]["tasks"] = by_order(component["dag"]["tasks"])
    spec["components"] = by_order(spec["components"], "comp-")
    spec["deploymentSpec"]["executors"] = by_order(spec["deploymentSpec"]["executors"], "exec-")
    return spec
