"""``Plan`` → KFP pipeline spec, the JSON that Vertex AI Pipelines and ``local`` execute.

The graph of every spec is an exit handler around ``mlflow-start-run`` and, after it, one task for each step. When all
of that has ended, well or badly, ``mlflow-finish-run`` runs and is told how it ended. Before a step that takes very
many artifacts, there are gathering tasks; see ``gathering``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from google.protobuf import json_format
from kfp import dsl
from kfp.dsl import structures
from kfp.dsl.container_component_class import ContainerComponent

from ..contract import limits, names, params, places
from ..contract.arguments import GatheringArguments, JobArguments, StepArguments, TaskArguments, digest_of
from ..contract.custom_job import GCP_RESOURCES, LAUNCHER, launcher_args
from ..contract.launch import Launch
from ..contract.spec import packed, with_arguments
from ..errors import UserError
from ..project import Project
from ..settings.models import RunConfig
from ..settings.resources import Resources
from .custom_job import custom_job
from .datasets import Artifact, Step
from .gathering import Delivery, Gathering, deliver, fetched_by
from .importers import SCHEMA_VERSION, import_raw, import_reused
from .plan import Plan
from .refusals import refuse_lost_versions

_STATUS_TYPE = "PipelineTaskFinalStatus"
# Seconds between the first two attempts at a step; the pause doubles each time.
_RETRY_AFTER = "10s"

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
        UserError: when something could become too long for an argument.
    """
    default_params: dict[str, Any] = params.encode(launch.params)
    parameters = len(json.dumps(default_params, ensure_ascii=False).encode())
    _refuse_long_params(parameters)
    delivery = deliver(plan, parameters, run_config.is_remote)
    components = _Components(plan, launch, run_config, resolve or {}, delivery)

    def build(params: dict[str, Any] = default_params) -> None:
        finish = components.finish()(params=params).set_caching_options(False)
        with dsl.ExitHandler(finish, name=names.GRAPHS[0]):
            started = components.start()(params=params).set_caching_options(False)
            tasks: dict[str, dsl.PipelineTask] = {}
            # Key of an artifact → KFP's channel of it.
            channels: dict[str, Any] = {raw.key: import_raw(raw) for raw in plan.raw if raw.uploaded}
            channels |= {reused.key: import_reused(reused) for reused in plan.reused}
            is_gathered_again = not any(step.cached for step in plan.steps)
            may_cache = names.is_digest(components.image) or cache_here
            for step in plan.steps:
                for gathering in delivery.gatherings[step.name]:
                    members = {key: channels[key] for key in gathering.members}
                    gathered = components.gathering(gathering)(**members)
                    gathered.set_display_name(gathering.task)
                    gathered.set_caching_options(may_cache and not is_gathered_again)
                    channels[gathering.index] = gathered.outputs[gathering.index]
                values = {key: started.outputs[key] for key in components.resolved}
                inputs = {key: channels[key] for key in delivery.inputs[step.name]}
                task = components.step(step)(params=params, **values, **inputs)
                task.after(started, *(tasks[name] for name in step.after))
                task.set_display_name(names.shortened(step.nodes[0] if len(step.nodes) == 1 else step.name))
                named_by_digest = names.is_digest(step.resources.image or components.image)
                task.set_caching_options(step.cached and (named_by_digest or cache_here))
                _ask_for(task, step.resources)
                tasks[step.name] = task
                channels |= {key: task.outputs[key] for key in delivery.outputs[step.name]}

    name = launch.package if plan.pipeline == "__default__" else f"{launch.package}-{plan.pipeline}"
    naming = {"name": names.task_name(name), "description": run_config.description}
    pipeline = dsl.pipeline(**naming, pipeline_root=run_config.root)(build)
    spec = _in_run_order(json_format.MessageToDict(pipeline.pipeline_spec), plan, delivery)
    # The first task keeps the spec in the job's MLflow run, and reads in it which steps there are.
    return with_arguments(spec, {"spec": packed(spec)})


class _Components:
    """The KFP components of a plan: that of the first task, those of the steps, and that of the last task."""

    def __init__(
        self, plan: Plan, launch: Launch, run_config: RunConfig, resolve: Mapping[str, Any], delivery: Delivery
    ) -> None:
        self._plan, self._launch, self._run_config = plan, launch, run_config
        self._resolve, self._delivery = resolve, delivery
        self.image = launch.image or run_config.image
        self._notify = run_config.notify.model_dump() if run_config.notify.webhook else {}
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
        self._gathered = {one.index: one.members for some in delivery.gatherings.values() for one in some}
        # Key of an artifact that no step of the job makes → what is known of it by now.
        uploads = {raw.key: raw.uploaded for raw in plan.raw if raw.uploaded}
        self._known = {key: {"uri": uploaded.uri, "sha256": uploaded.sha256} for key, uploaded in uploads.items()} | {
            reused.key: {"uri": reused.uri, "sha256": str(reused.metadata.get("sha256", ""))} for reused in plan.reused
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
            launch=self._launch.name,
        )
        outputs = {names.MLFLOW_RUN: "String", **self.resolved}
        return self._component(arguments, {names.PARAMS: "Dict"}, outputs)

    def finish(self) -> ContainerComponent:
        """``mlflow-finish-run``"""
        arguments = JobArguments(
            **self._common,
            task=names.FINISH_TASK,
            on_exit=self._plan.on_exit or "",
            registry=self._plan.registry,
            notify=self._notify,
        )
        return self._component(arguments, {names.STATUS: _STATUS_TYPE, names.PARAMS: "Dict"}, {})

    def step(self, step: Step) -> ContainerComponent:
        """The component of a step."""
        plan, delivery = self._plan, self._delivery
        input_keys, output_keys = delivery.inputs[step.name], delivery.outputs[step.name]
        outputs = self._artifacts(step.outputs)
        artifacts = {**self._artifacts(plan.artifact_inputs[step.name]), **outputs}
        at_start = self._resolve.get("catalog", {})
        arguments = StepArguments(
            **self._common,
            task=step.name,
            nodes=step.nodes,
            artifacts=_keys(artifacts, "pickle"),
            files=_keys(artifacts, "files"),
            raw={raw.place: raw.key for raw in fetched_by(plan, step)},
            models=_keys(artifacts, "model"),
            versions={
                **{name: artifact.key for name, artifact in outputs.items() if artifact.is_versioned},
                **{name: plan.artifacts[maker].key for name, maker in plan.versions[step.name].items()},
            },
            lineage={name: _lineage(artifact, name in at_start) for name, artifact in outputs.items()},
            timeout=step.resources.timeout or 0,
            imported=self._imported(input_keys),
            root=self._root,
            fingerprint=step.fingerprint,
            reads=plan.reads.get(step.name, ()),
            inputs=plan.inputs.get(step.name, ()),
            system_metrics=self._system_metrics,
            indexes=self._indexes(input_keys),
            known=self._known_by_index(input_keys),
            index="".join(self._indexes(output_keys)),
        )
        inputs = {names.PARAMS: "Dict", **self.resolved, **self._types(input_keys)}
        return self._component(arguments, inputs, self._types(output_keys), step)

    def gathering(self, gathering: Gathering) -> ContainerComponent:
        """The component of a task that writes an index."""
        arguments = GatheringArguments(
            task=gathering.task,
            pipeline=self._plan.pipeline,
            host_aliases=self._common["host_aliases"],
            imported=self._imported(gathering.members),
            root=self._root,
            indexes=self._indexes(gathering.members),
            known=self._known_by_index(gathering.members),
            index=gathering.index,
        )
        return self._component(arguments, self._types(gathering.members), self._types([gathering.index]))

    def _types(self, keys: Iterable[str]) -> _Types:
        return {key: self._delivery.types[key] + SCHEMA_VERSION for key in keys}

    def _indexes(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if key in self._delivery.indexes]

    def _imported(self, keys: Iterable[str]) -> dict[str, dict[str, str]]:
        """What is known by now of those of these artifacts that no step of the job makes."""
        return {key: self._known[key] for key in keys if key in self._known}

    def _known_by_index(self, keys: Iterable[str]) -> dict[str, str]:
        imported_of = {key: self._known_in(key) for key in keys}
        return {key: digest_of(imported) for key, imported in imported_of.items() if imported}

    def _known_in(self, index: str) -> dict[str, dict[str, str]]:
        """What is known by now of the artifacts in the index of a gathering task, also by way of another one."""
        members = self._gathered.get(index, ())
        inner = [self._known_in(key) for key in members if key in self._delivery.indexes]
        return reduce(or_, inner, self._imported(key for key in members if key not in self._delivery.indexes))

    def _artifacts(self, datasets: Iterable[str]) -> dict[str, Artifact]:
        return {name: self._plan.artifacts[name] for name in datasets if name in self._plan.artifacts}

    def _component(
        self, arguments: TaskArguments, inputs: _Types, outputs: _Types, step: Step | None = None
    ) -> ContainerComponent:
        args = arguments.argv()
        _refuse_what_does_not_fit(arguments.task, args)
        env = (step.resources.env if step else self._run_config.env) or {}
        options = [*args, *(f"--env {name}={value}" for name, value in env.items())]
        for option, _, value in (argument.partition("=") for argument in options if argument.startswith("--")):
            if "{{$" in value:
                raise UserError(
                    f"Task '{arguments.task}', {option}: KFP replaces '{{{{$' in names and paths. ({value})"
                )
        code = self._launch.code
        module = [names.UPLOADED_MODULE, code.uri] if code else [names.STEP_MODULE]
        image = (step and step.resources.image) or self.image
        command = ["python", "-m", *module]
        container = structures.ContainerSpecImplementation(image=image, command=command, args=args, env=env)
        if step and step.resources.is_custom_job:
            container = self._launcher(step, container)
            outputs = {**outputs, **({} if step.resources.retries else {GCP_RESOURCES: "String"})}
        spec = structures.ComponentSpec(
            name=arguments.task,
            implementation=structures.Implementation(container=container),
            inputs={key: structures.InputSpec(type_, optional=type_ == _STATUS_TYPE) for key, type_ in inputs.items()},
            outputs={key: structures.OutputSpec(type_) for key, type_ in outputs.items()},
        )
        return ContainerComponent(spec, pipeline_func=None)

    def _launcher(
        self, step: Step, container: structures.ContainerSpecImplementation
    ) -> structures.ContainerSpecImplementation:
        """The container that runs a step's own one in a custom job."""
        worker = {
            "image_uri": container.image,
            "command": container.command,
            "args": container.args,
            "env": [{"name": name, "value": value} for name, value in (container.env or {}).items()],
        }
        args = launcher_args(custom_job(step, worker, self._run_config), resumes=not step.resources.retries)
        if (size := max(len(argument.encode(errors="surrogatepass")) for argument in args)) > limits.MAX_CUSTOM_JOB:
            raise UserError(
                f"Step '{step.name}' runs as a custom job, whose description takes {size // 1024} KiB of an argument. "
                f"{limits.MAX_CUSTOM_JOB // 1024} KiB are for it. Give it fewer nodes (run_config.grouping), or let it "
                "run without machine_type, spot, max_wait, boot_disk and custom_job."
            )
        image = self._run_config.launcher_image
        return structures.ContainerSpecImplementation(image=image, command=list(LAUNCHER), args=args)


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


def _refuse_long_params(parameters: int) -> None:
    if parameters > limits.MAX_ARGUMENT:
        raise UserError(
            f"--params: these take {parameters // 1024} KiB. Each step gets them in one argument, which has "
            f"{limits.MAX_ARGUMENT // 1024} KiB. Put large values into parameters.yml or into a dataset."
        )


def _refuse_what_does_not_fit(task: str, args: Sequence[str]) -> None:
    """Refuse arguments that Linux would not pass to the task's command."""
    sizes = {argument.partition("=")[0]: len(argument.encode()) for argument in args}
    longest = max(sizes, key=lambda name: sizes[name])
    # The executor input is put in later.
    total = sum(sizes.values()) + limits.MAX_ARGUMENT
    if sizes[longest] > limits.MAX_ARGUMENT or total > limits.MAX_ARGUMENTS:
        raise UserError(
            f"Task '{task}': its arguments take {total // 1024} KiB, {longest} alone {sizes[longest] // 1024} KiB. An "
            f"argument has at most {limits.MAX_ARGUMENT // 1024} KiB, and all of them {limits.MAX_ARGUMENTS // 1024}. "
            "Let nodes exchange fewer datasets, for instance one dictionary, or cut the pipeline into several."
        )


def _ask_for(task: dsl.PipelineTask, resources: Resources) -> None:
    if resources.retries:
        task.set_retry(num_retries=resources.retries, backoff_duration=_RETRY_AFTER)
    if resources.is_custom_job:  # the task itself only launches it
        return
    if resources.cpu:
        task.set_cpu_limit(resources.cpu)
    if resources.memory:
        task.set_memory_limit(resources.memory_limit)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu_type)
        task.set_accelerator_limit(resources.gpu)


def _in_run_order(spec: dict[str, Any], plan: Plan, delivery: Delivery) -> dict[str, Any]:
    """Protobuf maps have no order. People who read the file, and files that must not differ, need one."""
    spec = json.loads(json.dumps(spec, sort_keys=True))
    keys = [*(raw.key for raw in plan.raw), *(reused.key for reused in plan.reused)]
    importers = sorted(map(names.importer_name, keys))
    tasks = [names.START_TASK, *importers]
    for step in plan.steps:
        tasks += [*(gathering.task for gathering in delivery.gatherings[step.name]), step.name]
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
