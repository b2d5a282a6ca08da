"""The job's MLflow run while a step runs: it is the active run, and its tags and description say how far it is."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from traceback import format_exc

import mlflow
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node
from mlflow.entities import Run

from ..contract import names
from ..contract.arguments import StepArguments
from ..contract.job import JobIdentity, State
from ..errors import shown
from ..tracking import active, delete_tags, tags_of_the_job, write_tags
from ..tracking.description import update_description
from ..tracking.failures import error_text
from ..tracking.files import log_text
from ..tracking.steps import StepRecord, as_tags, utc
from .printed_text import printed_text


@contextmanager
def attached(job: JobIdentity, args: StepArguments, reused: Mapping[str, str], began: float) -> Iterator["NodeTags"]:
    """Make the job's run the active one while the nodes of a step run.

    Args:
        job: the pipeline job.
        args: what the step is told.
        reused: step that did not run, because its result was reused → the job that the result comes from.
        began: ``time.monotonic()`` when the process began.

    Raises:
        RuntimeError: when the job has no run.
    """
    with active(job) as run:
        if run.data.tags.get(names.FAILED_NODE_TAG) in args.nodes:  # this is a retry
            delete_tags(run, names.FAILED_NODE_TAG, names.ERROR_TAG)
        tags = NodeTags(run, args, reused, began)
        with printed_text() as text, _sampled(run, args):
            try:
                yield tags
            except Exception as error:
                tags.fail(error_text(f"{type(error).__name__}: {error}"))
                log_text(run.info.run_id, shown(f"{text}{format_exc()}"), f"{names.RUN_FOLDER}/logs/{args.task}.txt")
                raise
        tags.succeed()


@contextmanager
def _sampled(run: Run, args: StepArguments) -> Iterator[None]:
    """Let MLflow sample the step's machine, if that is wanted, as ``system/<step>/cpu_utilization_percentage``."""
    if not args.system_metrics:
        yield
        return
    # Not at the top, because it needs psutil, which only this needs.
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    # A retry goes on after the last sample of the attempt before.
    sampler = SystemMetricsMonitor(run.info.run_id, node_id=args.task, resume_logging=True)
    sampler.start()
    try:
        yield
    finally:
        sampler.finish()


class NodeTags:
    """Kedro hooks that name the running node in the run's tags. A step that is killed is left running there.

    Args:
        run: the job's run.
        args: what the step is told.
        reused: see ``attached``.
        began: see ``attached``.
    """

    def __init__(self, run: Run, args: StepArguments, reused: Mapping[str, str], began: float) -> None:
        self._run_id = run.info.run_id
        self._tags_of_the_job = tags_of_the_job(run.data.tags)
        self._began = began
        earlier = StepRecord.of(run.data.tags, args.task)
        self._record = replace(
            earlier,
            nodes=earlier.nodes or ", ".join(args.nodes),
            state=State.RUNNING,
            started=utc(time.time() - (time.monotonic() - began)),
            attempts=earlier.attempts + 1,
            seconds=0.0,
            error="",
            origin="",
        )
        skipped = [
            replace(StepRecord.of(run.data.tags, step), state=State.SKIPPED, origin=origin)
            for step, origin in reused.items()
        ]
        origins = {names.REUSED_TAG + step: origin for step, origin in reused.items()}
        self._tag(args.nodes[0], origins | as_tags(skipped))
        update_description(self._run_id)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Name the node that is about to run, and take back the tags that kedro-mlflow has set for this step alone."""
        self._tag(node.name, self._tags_of_the_job)

    def succeed(self) -> None:
        """Write down that the step has succeeded."""
        self._end(State.SUCCEEDED, node="")

    def fail(self, error: str) -> None:
        """Write down that the step has failed, and why."""
        mlflow.set_tags({names.FAILED_NODE_TAG: self._record.node, names.ERROR_TAG: error})
        self._end(State.FAILED, node=self._record.node, error=error)

    def _end(self, state: State, node: str, error: str = "") -> None:
        seconds = round(time.monotonic() - self._began, 1)
        self._record = replace(self._record, state=state, seconds=seconds, node=node, error=error)
        mlflow.set_tags(self._record.as_tag())
        update_description(self._run_id)

    def _tag(self, node: str, more: Mapping[str, str]) -> None:
        self._record = replace(self._record, node=node)
        write_tags(self._run_id, {**more, names.LATEST_NODE_TAG: node, **self._record.as_tag()})
