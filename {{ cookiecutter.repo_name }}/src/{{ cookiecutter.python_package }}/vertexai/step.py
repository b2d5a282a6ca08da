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
from kedro.io import AbstractDataset
from kedro.runner import SequentialRunner

from . import tracking
from .artifact import ArtifactDataset
from .params import decode


class StepRunner(SequentialRunner):
    """Kedro's sequential runner, with the step's artifacts in the catalog and its hooks registered.

    Args:
        artifacts: dataset name → where it is kept between steps.
        hooks: objects with Kedro hook methods, for this run only.
    """

    def __init__(self, artifacts: Mapping[str, AbstractDataset], hooks: Sequence[object] = ()) -> None:
        super().__init__()
        self._artifacts = artifacts
        self._hooks = hooks

    def __str__(self) -> str:  # kedro-mlflow makes a tag of it
        return type(self).__name__

    def run(self, pipeline: Any, catalog: Any, hook_manager: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Run the pipeline as ``SequentialRunner`` does."""
        for name, dataset in self._artifacts.items():
            catalog[name] = dataset
        for hook in self._hooks:
            hook_manager.register(hook)
        return super().run(pipeline, catalog, hook_manager, **kwargs)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one task; an exception is the task's failure."""
    args = _parser().parse_args(argv)
    inputs = args.executor_input.get("inputs", {})
    params = decode(inputs.get("parameterValues", {}).get("params", {}))
    project = bootstrap_project(Path.cwd())
    with KedroSession.create(project.project_path, env=args.env, runtime_params=params) as session:
        # kedro-mlflow configures MLflow here: tracking URI, header provider, experiment.
        context = session.load_context()
        tracked = tracking.is_enabled(context, args.pipeline)
        job = tracking.Job(args.job_name, args.job_id, args.job_resource_name)
        outputs: dict[str, Any] = {}
        if args.start_run:
            outputs["mlflow_run"] = tracking.start(job) if tracked else "tracking is switched off"
        elif args.finish_run:
            if tracked:
                tracking.finish(job, inputs["parameterValues"]["status"])
        else:
            artifacts = _artifacts(args.executor_input, args.artifacts)
            with tracking.attached(job, args.task_name, args.nodes) if tracked else nullcontext() as hooks:
                runner = StepRunner(artifacts, [hooks] if hooks else [])
                session.run(pipeline_names=[args.pipeline], node_names=args.nodes, runner=runner)
    _write_output(args.executor_input, outputs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="step", description=__doc__)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--nodes", type=json.loads, help="JSON list of the Kedro nodes to run")
    task.add_argument("--start-run", action="store_true", help="start the MLflow run")
    task.add_argument("--finish-run", action="store_true", help="end the MLflow run")
    parser.add_argument("--executor-input", type=json.loads, required=True, help="KFP's ExecutorInput as JSON")
    parser.add_argument("--artifacts", type=json.loads, default={}, help="JSON of dataset name → artifact key")
    parser.add_argument("--pipeline", required=True, help="name of the Kedro pipeline")
    parser.add_argument("--env", help="Kedro configuration environment")
    for name in ("job-name", "job-id", "job-resource-name", "task-name"):
        parser.add_argument(f"--{name}", required=True)
    return parser


def _artifacts(executor_input: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, AbstractDataset]:
    """Dataset name → dataset at the URI that the platform chose for its artifact."""
    given = {
        **executor_input.get("inputs", {}).get("artifacts", {}),
        **executor_input.get("outputs", {}).get("artifacts", {}),
    }
    return {name: ArtifactDataset(given[key]["artifacts"][0]["uri"]) for name, key in keys.items()}


def _write_output(executor_input: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Write KFP's ExecutorOutput, from which the platform learns what the task produced."""
    path = Path(executor_input["outputs"]["outputFile"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"parameterValues": dict(parameters)}), encoding="utf-8")


if __name__ == "__main__":
    main()
