"""One MLflow run per pipeline job: started by the first task, found by every step, ended by the exit task.

Lifecycle. ``mlflow-start-run`` creates the run, tagged with the job's name, or finds it if it is retried. A step finds
the run by that tag, makes it the active one, so that kedro-mlflow logs into it, and lets go of it without touching its
status. ``mlflow-finish-run`` ends it, once. Nothing of the run passes through the pipeline spec, or no step would ever
be cached.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import mlflow
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT
from mlflow.utils.validation import MAX_TAG_VAL_LENGTH

from .job import MlflowRun, console_url

# The job's end, as KFP's PipelineTaskFinalStatus names it → MLflow's run status.
_RUN_STATUS = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}
# As Vertex AI words it: "The DAG failed because some tasks failed. The failed tasks are: [train, plot]."
_FAILED_TASKS = re.compile(r"failed tasks are: \[([^\]]*)\]")
_RUNNING_NODE = "running_node."
# Set in the image, when it is built with the commit that it is of.
_REVISION = "IMAGE_REVISION"


@dataclass(frozen=True)
class Job:
    """The pipeline job a task belongs to, as the platform names it.

    Args:
        name: job name, unique in its project and region.
        id: the platform's number for it.
        resource_name: ``projects/…/locations/…/pipelineJobs/…`` on Vertex AI; a URL of its own elsewhere.
    """

    name: str
    id: str
    resource_name: str

    @property
    def url(self) -> str:
        """Where a person looks at the job."""
        return console_url(self.resource_name)


def is_enabled(context: KedroContext, pipeline: str) -> bool:
    """Whether kedro-mlflow is installed, switched on, and not switched off for this pipeline in ``mlflow.yml``."""
    config = getattr(context, "mlflow", None)
    return config is not None and pipeline not in config.tracking.disable_tracking.pipelines


def start(job: Job, image: str) -> str:
    """Create the job's run, or find it if this is a retry.

    Args:
        job: the pipeline job.
        image: the steps' container image; by digest, it becomes a tag.

    Returns:
        Where a person looks at the run.
    """
    run = _find(job)
    if run is None:
        tags = {"vertexai_job_name": job.name, "vertexai_run_id": job.id, "vertexai_job_url": job.url}
        if "@sha256:" in image:
            tags["vertexai_image"] = image
        if commit := os.environ.get(_REVISION):
            tags[MLFLOW_GIT_COMMIT] = commit
        run = mlflow.start_run(run_name=job.name, tags=tags)
        _detach()
    return run_url(run)


@contextmanager
def active(job: Job) -> Iterator[Run]:
    """Make the job's run the active one, and leave its status alone.

    Raises:
        RuntimeError: when the job has no run.
    """
    run = _find(job)
    if run is None:
        raise RuntimeError(f"No MLflow run has the tag vertexai_job_name={job.name}; mlflow-start-run makes it.")
    mlflow.start_run(run_id=run.info.run_id)
    try:
        yield run
    finally:
        _detach()


@contextmanager
def attached(job: Job, task: str, nodes: list[str]) -> Iterator["NodeTags"]:
    """Make the job's run the active one while a step's nodes run, and say in its tags which one it is.

    Args:
        job: the pipeline job.
        task: the step's task name.
        nodes: the step's nodes, in the order they run.

    Raises:
        RuntimeError: when the job has no run.
    """
    with active(job) as run:
        if run.data.tags.get("failed_node") in nodes:  # this is a retry
            _delete_tags(run, "failed_node", "error")
        tags = NodeTags(task, nodes[0])
        try:
            yield tags
        except Exception as error:
            mlflow.set_tags({"failed_node": tags.node, "error": _brief(f"{type(error).__name__}: {error}")})
            raise
        _delete_tags(run, _RUNNING_NODE + task)


class NodeTags:
    """Kedro hooks that say in the run's tags which node runs; a step killed outright leaves its tag behind."""

    def __init__(self, task: str, node: str) -> None:
        self._task = task
        self._tag(node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Name the node that is about to run."""
        self._tag(node.name)

    def _tag(self, node: str) -> None:
        self.node = node
        mlflow.set_tags({"latest_node": node, _RUNNING_NODE + self._task: node})


def finish(job: Job, status: Mapping[str, Any]) -> str | None:
    """End the job's run with the job's own end.

    Args:
        job: the pipeline job.
        status: KFP's PipelineTaskFinalStatus: ``state``, and on failure ``error.message``.

    Returns:
        The MLflow run status, or None if the job has no run.
    """
    run = _find(job)
    if run is None:
        return None
    client = mlflow.MlflowClient()
    tags = run.data.tags
    run_status = _RUN_STATUS.get(status["state"], "FAILED")
    if run_status == "FAILED":
        for name, value in failure_tags(tags, status.get("error", {}).get("message", "")).items():
            client.set_tag(run.info.run_id, name, value)
    elif run_status == "FINISHED":
        _delete_tags(run, "failed_node", "error")
    _delete_tags(run, *(tag for tag in tags if tag.startswith(_RUNNING_NODE)))
    client.set_terminated(run.info.run_id, run_status)
    return run_status


def how_it_ended(job: Job, status: Mapping[str, Any], tracked: bool) -> dict[str, str]:
    """The end of a job for the pipeline that runs then: name, url, state, failed_node, error, mlflow_run_id.

    Args:
        job: the pipeline job.
        status: see ``finish``.
        tracked: whether the job has a run, whose tags name nodes; without one there are task names.
    """
    run = _find(job) if tracked else None
    tags = run.data.tags if run else {}
    known = {name: tags.get(name, "") for name in ("failed_node", "error")}
    if status["state"] not in ("SUCCEEDED", "CANCELLED"):
        known |= failure_tags(tags, status.get("error", {}).get("message", ""))
    return {
        "name": job.name, "url": job.url, "state": status["state"], **known,
        "mlflow_run_id": run.info.run_id if run else "",
    }  # fmt: skip


def settle(job: Job, status: Mapping[str, Any]) -> str | None:
    """End the run of a job whose exit task could not.

    Args:
        job: the pipeline job.
        status: how it ended, see ``finish``.

    Returns:
        The MLflow run status that it has now, or None if the job has no run, or one that had ended.
    """
    run = _find(job)
    return finish(job, status) if run and run.info.status == "RUNNING" else None


def runs_of(jobs: Iterable[str]) -> dict[str, MlflowRun]:
    """Job name → its run; without the jobs that have none."""
    found = {}
    for name in jobs:
        if run := _find(Job(name, "", "")):
            tags = run.data.tags
            said = (tags.get("failed_node", ""), tags.get("error", ""))
            found[name] = MlflowRun(run.info.status, run_url(run), *said)
    return found


def ask() -> str:
    """Ask the tracking server something that any of its users may; the URI that has answered."""
    mlflow.search_experiments(max_results=1)
    return mlflow.get_tracking_uri()


def failure_tags(tags: Mapping[str, str], message: str) -> dict[str, str]:
    """Which nodes failed and why, by what the steps have said of themselves and the platform of its tasks.

    Args:
        tags: the run's tags when the job has ended.
        message: error message of the job's final status.
    """
    running = {name.removeprefix(_RUNNING_NODE): tags[name] for name in tags if name.startswith(_RUNNING_NODE)}
    match = _FAILED_TASKS.search(message)
    tasks = match.group(1).split(", ") if match else list(running)
    nodes = [running.get(task, task) for task in tasks]
    found = {"failed_node": ", ".join(nodes)} if nodes else {}
    # A step that raised has left its exception; one that was killed could not.
    if "error" not in tags or (nodes and tags.get("failed_node") not in nodes):
        found["error"] = _brief(message or "The job failed without a message.")
    return found


def run_url(run: Run) -> str:
    """Where a person looks at a run: its page if the store is a server, else the store and the run's id."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    return f"{uri} run {run.info.run_id}"


def _find(job: Job) -> Run | None:
    # kedro-mlflow has set the experiment, and search_runs looks in that one.
    runs = mlflow.search_runs(filter_string=f"tags.vertexai_job_name = '{job.name}'", output_format="list")
    return runs[0] if runs else None


def _detach() -> None:
    """Let go of the active run. It may be on the stack more than once, and MLflow would end it at exit."""
    while mlflow.active_run():
        mlflow.end_run("RUNNING")


def _delete_tags(run: Run, *names: str) -> None:
    present = mlflow.get_run(run.info.run_id).data.tags
    for name in names:
        if name in present:
            mlflow.MlflowClient().delete_tag(run.info.run_id, name)


def _brief(text: str) -> str:
    return text[:MAX_TAG_VAL_LENGTH]
