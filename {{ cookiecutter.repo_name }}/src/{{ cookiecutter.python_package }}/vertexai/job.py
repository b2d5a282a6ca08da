"""A pipeline job and its tasks, wherever they run: how far they have come, and where a person looks at them."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

# States of tasks by the names of Vertex AI's PipelineTaskDetail.State, which jobs share as far as they have them.
PENDING, RUNNING, SUCCEEDED, FAILED = "PENDING", "RUNNING", "SUCCEEDED", "FAILED"
CANCELLED, NOT_TRIGGERED, SKIPPED = "CANCELLED", "NOT_TRIGGERED", "SKIPPED"
ENDED = frozenset([SUCCEEDED, FAILED, CANCELLED, NOT_TRIGGERED, SKIPPED])

_RESOURCE = re.compile(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)")


@dataclass(frozen=True)
class TaskRun:
    """How far a task has come.

    Args:
        name: task name.
        log: file or page with what it printed.
        state: one of the states above.
        attempt: 1 for the first.
        seconds: how long it took; the last attempt's, where the platform tells.
        error: why it failed, in words.
        outputs: its output parameters and artifacts.
        containers: what ran it, one for each attempt; ``projects/…/customJobs/…`` on Vertex AI.
    """

    name: str
    log: str
    state: str = PENDING
    attempt: int = 0
    seconds: float = 0.0
    error: str = ""
    outputs: Mapping[str, Any] | None = None
    containers: tuple[str, ...] = ()


@dataclass(frozen=True)
class PipelineJob:
    """How far a pipeline job on Vertex AI has come.

    Args:
        name: job id.
        resource_name: ``projects/…/locations/…/pipelineJobs/…``
        state: one of the states above, or another of Vertex AI's PipelineState: QUEUED, CANCELLING, PAUSED.
        pipeline: Kedro name of its pipeline.
        created, started, ended: when, with time zone; None if not yet.
        error: why it failed, in Vertex AI's words.
        labels: its labels.
        run_context: Vertex AI's metadata context of the job, empty until there is one.
        tasks: by name, in the order they were created; empty in a list of jobs.
    """

    name: str
    resource_name: str
    state: str
    pipeline: str
    created: datetime | None
    started: datetime | None
    ended: datetime | None
    error: str
    labels: Mapping[str, str]
    run_context: str
    tasks: Mapping[str, TaskRun]

    @property
    def url(self) -> str:
        """Its page in Google's console."""
        return console_url(self.resource_name)

    @property
    def mlflow_run(self) -> str:
        """Where a person looks at its MLflow run, empty until the first task has said so."""
        started = self.tasks.get("mlflow-start-run")
        return ((started and started.outputs) or {}).get("parameters", {}).get("mlflow_run", "")


@dataclass(frozen=True)
class MlflowRun:
    """The MLflow run of a job.

    Args:
        status: MLflow's run status: RUNNING, FINISHED, FAILED, KILLED.
        url: where a person looks at it.
        failed_node: Kedro node that failed; empty if none did.
        error: why.
    """

    status: str
    url: str
    failed_node: str = ""
    error: str = ""


def new_job_name(pipeline: str) -> str:
    """A name that no other job has, of letters and in a length that Vertex AI takes for a job id.

    Args:
        pipeline: the compiled pipeline's name.
    """
    moment = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    return f"{pipeline[:100]}-{moment}-{uuid.uuid4().hex[:4]}"


def console_url(resource_name: str) -> str:
    """The page of a pipeline job in Google's console; what is no resource name of one stays as it is."""
    match = _RESOURCE.fullmatch(resource_name)
    if not match:
        return resource_name
    project, region, job = match.groups()
    return f"https://console.cloud.google.com/vertex-ai/locations/{region}/pipelines/runs/{job}?project={project}"


def log_url(containers: list[str]) -> str:
    """The page of Google's console with the logs of these custom jobs, ``projects/…/customJobs/…``; empty if none."""
    if not containers:
        return ""
    project = containers[0].split("/")[1]
    ids = " OR ".join(f'"{name.rpartition("/")[2]}"' for name in containers)
    query = quote(f'resource.type="ml_job" resource.labels.job_id=({ids})', safe="")
    return f"https://console.cloud.google.com/logs/query;query={query}?project={project}"
