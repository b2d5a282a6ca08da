"""A container's entry point: arguments and executor input in, one task of the pipeline job done, executor output out.

``python -m vertexai_mlflow.step --task=clean --nodes='["clean"]' … --executor-input '{{$}}'`` runs a step's nodes in
a Kedro session. The first and the last task of a job, which start and end its MLflow run, have no nodes.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import fsspec
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project

from .. import contract, tracking
from ..contract.arguments import StepArguments, parse_step_arguments
from ..contract.catalog import Catalog
from ..contract.job import JobIdentity
from ..seal import refuse_the_copy_of_another_project
from . import doctor
from .artifact import ArtifactDataset
from .carry import Carrier
from .lineage import Lineage
from .process import alias, deadline
from .run_tags import attached
from .runner import StepRunner, StepSession, job_version, resolved
from .timing import Timing


def main(argv: Sequence[str] | None = None) -> None:
    """Run one task; an exception is the task's failure."""
    timing = Timing()
    args, executor_input, platform = parse_step_arguments(argv)
    if args.host_aliases:
        alias(args.host_aliases)
    given = executor_input.get("inputs", {}).get("parameterValues", {})
    params = contract.decode(given.get(contract.PARAMS, {}))
    refuse_the_copy_of_another_project(bootstrap_project(Path.cwd()).source_dir)
    # Where a hook learns that it runs in a step, and which environment it is in, on this machine as in a container.
    os.environ |= {contract.STEP_VARIABLE: args.task, contract.JOB_VARIABLE: platform.job_name, "KEDRO_ENV": args.env}
    if not args.env:
        del os.environ["KEDRO_ENV"]
    if args.task == contract.DOCTOR_TASK:
        report = json.dumps(doctor.look_around(args, executor_input, platform))
        return _write(executor_input["outputs"]["outputFile"], {"parameterValues": {contract.REPORT: report}})
    job = JobIdentity(platform.job_name, platform.job_id, platform.job_resource_name)
    StepSession.resolved = contract.decode(given.get(contract.RESOLVED, {}))
    StepSession.version = job_version(platform.job_created, platform.job_id)
    with (
        deadline(args.timeout),
        _session(args, params) as session,
    ):
        # Here kedro-mlflow configures MLflow: tracking URI, header provider, experiment.
        context = session.load_context()
        tracked = tracking.is_enabled(context, args.pipeline)
        output: dict[str, Any] = {}
        if args.task == contract.START_TASK:
            with timing.of("mlflow"):
                run = _start(args, job) if tracked else "tracking is switched off"
            output = {"parameterValues": {contract.MLFLOW_RUN: run}}
            if args.resolve:
                output["parameterValues"][contract.RESOLVED] = resolved(context.config_loader, args.resolve)
        elif args.task == contract.FINISH_TASK:
            _finish(args, job, given[contract.STATUS], params, tracked)
        else:
            catalog = Catalog(context.config_loader["catalog"] if args.files else {}, "catalog.yml")
            output = {"artifacts": _run_nodes(args, job, session, executor_input, catalog, tracked, timing)}
    _write(executor_input["outputs"]["outputFile"], output)
    timing.tell()


def _session(args: StepArguments, params: dict[str, Any]) -> StepSession:
    return StepSession.create(
        Path.cwd(),
        env=args.env or None,
        runtime_params=contract.literal(params),
        conf_source=args.conf_source or None,
    )


def _start(args: StepArguments, job: JobIdentity) -> str:
    """Start the job's MLflow run, with what the finished steps of the job that it resumes have logged."""
    if not args.resumed:
        return tracking.start(job, args.image, args.code)
    nodes = [node for name in args.pipeline.split(",") for node in pipelines[name].nodes]
    kept = {name for node in nodes if node.name in args.resumed["nodes"] for name in node.inputs}
    params = [name.removeprefix("params:") for name in kept if name.startswith("params:")]
    earlier = JobIdentity(args.resumed["job"], resource_name=args.resumed["resource_name"])
    return tracking.start(job, args.image, args.code, earlier, params)


def _write(place: str, output: Mapping[str, Any]) -> None:
    """Write KFP's ExecutorOutput, from which the platform learns what the task has made.

    Vertex AI names a place in the bucket by its mount, ``/gcs/…``, which the image's user may not be able to write to.
    """
    with fsspec.open(re.sub("^/gcs/", "gs://", place), "w", encoding="utf-8") as file:
        json.dump(output, file, allow_nan=False)


def _run_nodes(
    args: StepArguments,
    job: JobIdentity,
    session: StepSession,
    executor_input: Mapping[str, Any],
    catalog: Catalog,
    tracked: bool,
    timing: Timing,
) -> dict[str, Any]:
    """Run a step's nodes.

    Returns:
        Its output artifacts, as KFP's ExecutorOutput has them.
    """
    inputs, outputs = (executor_input.get(side, {}).get("artifacts", {}) for side in ("inputs", "outputs"))
    known = {key: value["artifacts"][0] for key, value in {**inputs, **outputs}.items()}
    # Only what this step makes may be read without a hash.
    hashes = {key: None if key in outputs else known[key].get("metadata", {}).get("sha256", "") for key in known}
    artifacts = {name: ArtifactDataset(known[key]["uri"], hashes[key]) for name, key in args.artifacts.items()}
    models = {name: known[key].get("metadata", {}).get("model_uri", "") for name, key in args.models.items()}
    carrier = Carrier(args, catalog, inputs, outputs)
    lineage = Lineage(args.lineage, artifacts, {"job": job.name, "step": args.task})
    nodes = list(args.nodes)
    about = [artifact.get("metadata", {}) for artifact in known.values()]
    reused = {one["step"]: one["job"] for one in about if one.get("job", job.name) != job.name}
    with ExitStack() as stack:
        with timing.of("mlflow"):
            tags = [stack.enter_context(attached(job, args.task, nodes, reused))] if tracked else []
        with timing.of("data"):
            carrier.fetch()
        runner = StepRunner(artifacts, models, [lineage, timing, *tags], args.is_async)
        versions = dict(args.load_versions) or None
        session.run(pipeline_names=args.pipeline.split(","), node_names=nodes, runner=runner, load_versions=versions)
        with timing.of("data"):
            carried = carrier.put()
    for name, uri in runner.model_uris.items():
        carried[args.models[name]] = {"uri": uri, "metadata": {"model_uri": uri}}
    return lineage.executor_output(outputs, carried)


def _finish(
    args: StepArguments, job: JobIdentity, status: Mapping[str, Any], params: dict[str, Any], tracked: bool
) -> None:
    """Run the pipeline that ``on_exit_pipeline`` names; then, whatever came of it, end the MLflow run."""
    try:
        if args.on_exit:
            params = {**params, contract.EXIT_PARAMETER: tracking.how_it_ended(job, status, tracked)}
            with (
                _session(args, params) as session,
                tracking.active(job) if tracked else nullcontext(),
            ):
                session.run(pipeline_names=[args.on_exit], runner=StepRunner())
    except BaseException as error:
        message = f"on_exit_pipeline {args.on_exit}: {type(error).__name__}: {error}"
        status = {"state": "FAILED", "error": {"message": message}}
        raise
    finally:
        if tracked:
            tracking.finish(job, status)


if __name__ == "__main__":
    main()
