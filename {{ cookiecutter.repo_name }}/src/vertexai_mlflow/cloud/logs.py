"""Read from Cloud Logging what the steps of a pipeline job printed."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..contract.job import PipelineJob
from ..contract.names import TIMING
from ..errors import UserError, did_you_mean
from .rest import call

# https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list
_URL = "https://logging.googleapis.com/v2/entries:list"


@dataclass(frozen=True)
class Line:
    """A log entry.

    Args:
        time: RFC 3339, UTC.
        severity: INFO, ERROR …
        task: the task that printed it.
        text: what it printed.
    """

    time: str
    severity: str
    task: str
    text: str


def read_logs(project_id: str, job: PipelineJob, step: str | None = None) -> Iterator[Line]:
    """Read the log lines of all attempts of a job's tasks, oldest first.

    Args:
        project_id: Google Cloud project.
        job: the job, with its tasks.
        step: name of a task, or None for all tasks.

    Raises:
        UserError: when there is no such task, or Cloud Logging refuses.
    """
    if step and step not in job.tasks:
        raise UserError(f"--step {step}: job {job.name} has no such task.{did_you_mean(step, job.tasks)}")
    tasks = [job.tasks[step]] if step else job.tasks.values()
    # Each attempt of a task is a custom job.
    task_names = {container.rpartition("/")[2]: task.name for task in tasks for container in task.containers}
    if not task_names:
        return
    ids = " OR ".join(f'"{number}"' for number in task_names)
    # Without a start time, Cloud Logging searches only the last day.
    since = f'timestamp>="{job.created.isoformat()}"' if job.created else ""
    query: dict[str, Any] = {
        "resourceNames": [f"projects/{project_id}"],
        "filter": f'resource.type="ml_job" resource.labels.job_id=({ids}) {since}',
        "orderBy": "timestamp asc",
        "pageSize": 1000,
    }
    refusals = {403: f"Cloud Logging refuses. Grant this identity roles/logging.viewer in project {project_id}."}
    while True:
        page = call("POST", _URL, refusals, json=query).json()
        for entry in page.get("entries", []):
            text = entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", "")
            task = task_names.get(entry["resource"]["labels"]["job_id"], "")
            if text.startswith(TIMING):  # for `run-local --profile` only
                continue
            yield Line(entry["timestamp"], entry.get("severity", "DEFAULT"), task, text.rstrip("\n"))
        if not page.get("nextPageToken"):
            return
        query["pageToken"] = page["nextPageToken"]


def log_tails(project_id: str, job: PipelineJob, max_lines: int) -> Iterator[tuple[str, list[str]]]:
    """Yield each task of a job that has failed, and the last lines of its log.

    Args:
        project_id: Google Cloud project.
        job: the job, with its tasks.
        max_lines: how many lines of a task at most.

    Raises:
        UserError: when Cloud Logging refuses.
    """
    for task in job.failed_tasks:
        entries = read_logs(project_id, job, task.name)
        yield task.name, list(deque((line for entry in entries for line in entry.text.splitlines()), max_lines))
