"""A container's entry point: it reads its arguments, runs one task of the pipeline job, and writes the executor output.

``python -m vertexai_mlflow.step --task=clean --nodes='["clean"]' … --executor-input '{{$}}'`` runs a step's nodes in
a Kedro session. The first and the last task of a job, which start and end its MLflow run, have no nodes, and neither
has a task that gathers artifacts for a step that takes very many.
"""

import json
import os
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project
from kedro.pipeline.node import Node

from .. import tracking
from ..contract import names, params
from ..contract.arguments import GatheringArguments, JobArguments, StepArguments, TaskArguments, parse_arguments
from ..contract.catalog import Catalog
from ..contract.job import JobIdentity, State
from ..guard import refuse_the_copy_of_another_project
from ..notify import notify
from ..tracking.job_page import log_page
from ..tracking.outcome import outcome_of
from ..tracking.registry import register
from . import doctor
from .artifact import ArtifactDataset
from .carry import Carrier
from .inputs import InputLog
from .io import StepIO
from .lineage import Lineage
from .models import fetch_model, logged_models, tag_models
from .printed_text import hide_secrets
from .process import alias, deadline
from .run_tags import attached
from .runner import StepRunner, StepSession, job_version, parameters_of, resolve
from .timing import Timing


def main(argv: Sequence[str] | None = None) -> None:
    """Run one task; an exception is the task's failure."""
    timing = Timing()
    args, executor_input, platform = parse_arguments(argv)
    io = StepIO(executor_input, None if isinstance(args, JobArguments) else args.imported)
    if args.host_aliases:
        alias(args.host_aliases)
    if isinstance(args, GatheringArguments):
        return io.write({"artifacts": _gather(args, io)})
    refuse_the_copy_of_another_project(bootstrap_project(Path.cwd()).source_dir)
    # A hook reads here that it runs in a step, and in which environment; on this machine as in a container.
    job = JobIdentity(platform.job_name, platform.job_id, platform.job_resource_name)
    os.environ |= {names.STEP_VARIABLE: args.task, names.JOB_VARIABLE: job.name, "KEDRO_ENV": args.env}
    if not args.env:
        del os.environ["KEDRO_ENV"]
    if job.project:
        os.environ[names.PROJECT_VARIABLE] = job.project
    if args.task == names.DOCTOR_TASK:
        report = json.dumps(doctor.run_checks(args, io, platform))
        return io.write({"parameterValues": {names.REPORT: report}})
    seconds = args.timeout if isinstance(args, StepArguments) else 0
    with deadline(seconds), _session(args, io, platform) as session:
        # Here kedro-mlflow configures MLflow: tracking URI, header provider, experiment.
        try:
            context = session.load_context()
        except BaseException:
            if isinstance(args, JobArguments) and args.task == names.FINISH_TASK:
                _tell(args, job, io.parameters[names.STATUS], is_tracked=False)
            raise
        output: dict[str, Any] = {}
        if isinstance(args, StepArguments):
            output = {"artifacts": _run_nodes(args, job, io, session, context, timing)}
        elif args.task == names.START_TASK:
            with timing.measure("mlflow"):
                is_tracked = tracking.is_enabled(context, args.pipeline)
                created = platform.job_created
                run = _start(args, job, created, context) if is_tracked else "tracking is switched off"
            output = {"parameterValues": {names.MLFLOW_RUN: run}}
            if args.resolve:
                output["parameterValues"][names.RESOLVED] = resolve(context.config_loader, args.resolve)
        else:
            _finish(args, job, io, platform, tracking.is_enabled(context, args.pipeline))
    io.write(output)
    timing.print()


def _session(args: TaskArguments, io: StepIO, platform: Namespace, **more_params: Any) -> StepSession:
    """Create a session with the job's runtime parameters, and with these besides."""
    session = StepSession.create(
        Path.cwd(),
        env=args.env or None,
        runtime_params=params.literal({**io.params, **more_params}),
        conf_source=args.conf_source or None,
    )
    session.version = job_version(platform.job_created, platform.job_id)
    session.resolved = io.resolved
    return session


def _start(args: JobArguments, job: JobIdentity, created: str, context: KedroContext) -> str:
    """Start the job's MLflow run. If the job resumes another, the run gets what that one's finished steps logged."""
    pipeline_names = args.pipeline.split(",")
    nodes = [node for name in pipeline_names for node in pipelines[name].nodes]
    parameters = parameters_of(context, pipeline_names)
    finished = [node for node in nodes if node.name in args.resumed.get("nodes", ())]
    experiment = context.mlflow.tracking.experiment.name
    return tracking.start(job, args, created, experiment, _taken_by(nodes, parameters), _taken_by(finished, parameters))


def _taken_by(nodes: Iterable[Node], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that nodes take, by name, which may have dots, without those that only hooks know."""
    inputs = sorted({name for node in nodes for name in node.inputs})
    if "parameters" in inputs:
        return dict(parameters["parameters"])
    names = (name for name in inputs if name.startswith("params:") and name in parameters)
    return {name.removeprefix("params:"): parameters[name] for name in names}


def _gather(args: GatheringArguments, io: StepIO) -> dict[str, Any]:
    """Write an index of a task's input artifacts; returns its output artifact, as KFP's ExecutorOutput has it."""
    return io.write_index(args.index, io.opened(args.indexes, args.root, args.known).inputs)


def _run_nodes(
    args: StepArguments, job: JobIdentity, io: StepIO, session: StepSession, context: KedroContext, timing: Timing
) -> dict[str, Any]:
    """Run a step's nodes.

    Returns:
        Its output artifacts, as KFP's ExecutorOutput has them.
    """
    nodes = list(args.nodes)
    with timing.measure("data"):
        own_io = io
        io = io.opened(args.indexes, args.root, args.known)
        io = io.spread(args.index, [item["key"] for item in args.lineage.values()])
    io.refuse_uris_outside(args.root, [*args.artifacts.values(), *args.files.values()])
    asks_catalog = args.files or args.versions or args.inputs
    catalog = Catalog(context.config_loader["catalog"] if asks_catalog else {}, "catalog.yml")
    carrier = Carrier(args, catalog, io)
    artifacts = {
        name: ArtifactDataset(io.uri(key), io.sha256(key), carrier.own_places) for name, key in args.artifacts.items()
    }
    lineage = Lineage(args.lineage, artifacts, {"job": job.name, "step": args.task})
    hooks: list[object] = [lineage, timing]
    with ExitStack() as stack:
        with timing.measure("mlflow"):
            if tracking.is_enabled(context, args.pipeline):
                reused = io.steps_of_other_jobs(job.name)
                hooks.append(stack.enter_context(attached(job, args, reused, timing.began)))
                entries = {name: entry for name in args.inputs if (entry := catalog.entry(name))}
                hooks.append(InputLog(entries))
        with timing.measure("data"):
            carrier.fetch()
            # A model has no address yet if this step makes it.
            uris = {name: (key, uri) for name, key in args.models.items() if (uri := io.model_uri(key))}
            fetched = {name: fetch_model(name, uri, io.sha256(key)) for name, (key, uri) in uris.items()}
            models = {name: fetched.get(name, "") for name in args.models}
        runner = StepRunner(artifacts, models, hooks, args.is_async)
        # What another job has saved in the meantime is not for this one.
        versions = {**args.load_versions, **io.versions_to_load(args.versions)}
        session.run(
            pipeline_names=args.pipeline.split(","), node_names=nodes, runner=runner, load_versions=versions or None
        )
        with timing.measure("data"):
            updates = carrier.put(runner.has_nothing, session.version)
            logged = logged_models(runner.model_uris, args.task)
            for name in args.models.keys() & logged.keys():
                metadata = {"model_uri": logged[name].uri, "sha256": logged[name].sha256}
                updates[args.models[name]] = {"uri": logged[name].uri, "metadata": metadata}
            tag_models(logged)
        output = lineage.executor_output(io.outputs, updates)
        if not args.index:
            return output
        artifact_of = {key: item["artifacts"][0] for key, item in output.items()}
        return own_io.write_index(args.index, artifact_of, job=job.name, step=args.task)


def _finish(args: JobArguments, job: JobIdentity, io: StepIO, platform: Namespace, is_tracked: bool) -> None:
    """Run the pipeline that ``on_exit_pipeline`` names, and register the model of a job that has succeeded.

    Then end the MLflow run, even if one of them has failed.
    """
    status, part = io.parameters[names.STATUS], f"on_exit_pipeline {args.on_exit}"
    try:
        if args.on_exit:
            outcome = tracking.how_it_ended(job, status, is_tracked)
            with (
                _session(args, io, platform, **{names.EXIT_PARAMETER: outcome}) as session,
                # If the first task has failed, there is no run.
                tracking.active(job) if outcome["mlflow_run_id"] else nullcontext(),
            ):
                session.run(pipeline_names=[args.on_exit], runner=StepRunner())
        part = "registry"
        if args.registry and is_tracked and status["state"] == State.SUCCEEDED:
            print(register(job, args.registry))
    except BaseException as error:
        message = f"{part}: {type(error).__name__}: {error}"
        status = {"state": "FAILED", "error": {"message": message}}
        raise
    finally:
        try:
            if is_tracked:
                tracking.finish(job, status)
                io.write_beside(names.CONTENTS_FILE, log_page(job, status).to_json())
        finally:
            _tell(args, job, status, is_tracked)


def _tell(args: JobArguments, job: JobIdentity, status: Mapping[str, Any], is_tracked: bool) -> None:
    """Tell those who want to hear of it how the job has ended."""
    if args.notify and (message := notify(lambda: outcome_of(job, args, status, is_tracked), args.notify)):
        print(message)


if __name__ == "__main__":
    hide_secrets()
    main()
