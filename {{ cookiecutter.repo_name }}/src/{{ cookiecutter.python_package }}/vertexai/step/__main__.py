"""A container's entry point: executor input → one task of the pipeline job → executor output.

``python -m <package>.vertexai.step --executor-input '{{$}}' --pipeline … --nodes '["a"]' …`` runs a step's nodes in a
Kedro session; ``--start-run`` and ``--finish-run`` are the first and the exit task. Everything arrives as an argument
of its own: no shell reads it.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from . import hosts, tracking
from .artifact import ArtifactDataset
from .deadline import deadline
from .lineage import Lineage
from .params import decode
from .runner import StepRunner


def main(argv: Sequence[str] | None = None) -> None:
    """Run one task; an exception is the task's failure."""
    args = _parser().parse_args(argv)
    if args.host_aliases:
        hosts.alias(args.host_aliases)
    given = args.executor_input.get("inputs", {}).get("parameterValues", {})
    params = decode(given.get("params", {}))
    project = bootstrap_project(Path.cwd())
    with (
        deadline(args.timeout),
        KedroSession.create(project.project_path, env=args.env, runtime_params=params) as session,
    ):
        # kedro-mlflow configures MLflow here: tracking URI, header provider, experiment.
        context = session.load_context()
        tracked = tracking.is_enabled(context, args.pipeline)
        job = tracking.Job(args.job_name, args.job_id, args.job_resource_name)
        output: dict[str, Any] = {}
        if args.start_run:
            run = tracking.start(job, args.image) if tracked else "tracking is switched off"
            output = {"parameterValues": {"mlflow_run": run}}
        elif args.finish_run:
            _finish(args, job, given["status"], params, tracked)
        else:
            output = {"artifacts": _run_nodes(args, job, session, tracked)}
    _write_output(args.executor_input, output)


def _run_nodes(args: argparse.Namespace, job: tracking.Job, session: KedroSession, tracked: bool) -> dict[str, Any]:
    """Run a step's nodes.

    Returns:
        Its output artifacts, as KFP's ExecutorOutput has them.
    """
    inputs, outputs = (args.executor_input.get(side, {}).get("artifacts", {}) for side in ("inputs", "outputs"))
    uris = {key: value["artifacts"][0]["uri"] for key, value in {**inputs, **outputs}.items()}
    artifacts = {name: ArtifactDataset(uris[key]) for name, key in args.artifacts.items()}
    lineage = Lineage(args.lineage, artifacts)
    with tracking.attached(job, args.task_name, args.nodes) if tracked else nullcontext() as tags:
        runner = StepRunner(artifacts, [lineage, *([tags] if tags else [])])
        session.run(pipeline_names=[args.pipeline], node_names=args.nodes, runner=runner)
    return lineage.executor_output(outputs)


def _finish(
    args: argparse.Namespace, job: tracking.Job, status: Mapping[str, Any], params: dict[str, Any], tracked: bool
) -> None:
    """Run the pipeline that ``on_exit_pipeline`` names, then end the MLflow run, whatever came of it."""
    try:
        if args.on_exit:
            params = {**params, "vertexai_job": tracking.how_it_ended(job, status, tracked)}
            with (
                KedroSession.create(Path.cwd(), env=args.env, runtime_params=params) as session,
                tracking.active(job) if tracked else nullcontext(),
            ):
                session.run(pipeline_names=[args.on_exit], runner=StepRunner({}))
    except BaseException as error:
        message = f"on_exit_pipeline {args.on_exit}: {type(error).__name__}: {error}"
        status = {"state": "FAILED", "error": {"message": message}}
        raise
    finally:
        if tracked:
            tracking.finish(job, status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="step", description=__doc__)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--nodes", type=json.loads, help="JSON list of the Kedro nodes to run")
    task.add_argument("--start-run", action="store_true", help="start the MLflow run")
    task.add_argument("--finish-run", action="store_true", help="end the MLflow run")
    parser.add_argument("--executor-input", type=json.loads, required=True, help="KFP's ExecutorInput as JSON")
    parser.add_argument("--artifacts", type=json.loads, default={}, help="JSON of dataset name → artifact key")
    parser.add_argument("--lineage", type=json.loads, default={}, help="JSON of dataset name → what is known of it")
    parser.add_argument("--pipeline", required=True, help="name of the Kedro pipeline")
    parser.add_argument("--image", default="", help="with --start-run: the steps' container image")
    parser.add_argument("--on-exit", help="with --finish-run: name of the Kedro pipeline to run before")
    parser.add_argument("--env", help="Kedro configuration environment")
    parser.add_argument("--timeout", type=int, help="seconds")
    parser.add_argument("--host-aliases", type=json.loads, default={}, help="JSON of host name → IP address")
    for name in ("job-name", "job-id", "job-resource-name", "task-name"):
        parser.add_argument(f"--{name}", required=True)
    return parser


def _write_output(executor_input: Mapping[str, Any], output: Mapping[str, Any]) -> None:
    """Write KFP's ExecutorOutput, from which the platform learns what the task produced."""
    path = Path(executor_input["outputs"]["outputFile"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(output), encoding="utf-8")


if __name__ == "__main__":
    main()
