"""A pipeline job and its tasks, wherever they run: how far they have come, and where a person looks at them."""

import json
import re
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from .names import FINISH_TASK, GATHER_PREFIX, IMPORT_PREFIX, MLFLOW_RUN, START_TASK, TIMING

_CONSOLE = "https://console.cloud.google.com"
# How many bytes of a log are its end.
_LOG_END = 64 * 1024
_RESOURCE = re.compile(r"projects/([^/]+)/locations/([^/]+)/pipelineJobs/([^/]+)")


class State(StrEnum):
    """States of tasks by the names of Vertex AI's PipelineTaskDetail.State; of jobs, as far as they apply."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    NOT_TRIGGERED = "NOT_TRIGGERED"
    SKIPPED = "SKIPPED"


ENDED = frozenset(State) - {State.PENDING, State.RUNNING}


@dataclass(frozen=True)
class Outcome:
    """How a job has ended, for people who hear of it.

    Args:
        pipeline: name of the pipeline, and which part of it.
        env: its configuration environment.
        job: the job's name.
        state: SUCCEEDED, FAILED or CANCELLED.
        failed_node: the node that failed, or several, separated by commas.
        error: why, without what looks like a secret.
        job_url: where a person looks at the job.
        run_url: where a person looks at the MLflow run.
        resume: the command that goes on from there, if the job has not succeeded.
        registered: what became of its model.
        is_recovery: whether it is the first one to succeed after one that has not.
    """

    pipeline: str
    env: str
    job: str
    state: str
    failed_node: str = ""
    error: str = ""
    job_url: str = ""
    run_url: str = ""
    resume: str = ""
    registered: str = ""
    is_recovery: bool = False


@dataclass(frozen=True)
class JobIdentity:
    """Which job a task belongs to, in the platform's words.

    Args:
        name: job name, unique in its project and region.
        id: the platform's number for it.
        resource_name: ``projects/…/locations/…/pipelineJobs/…`` on Vertex AI, a URL on this machine.
    """

    name: str
    id: str = ""
    resource_name: str = ""

    @property
    def url(self) -> str:
        """Where a person looks at the job."""
        match = _RESOURCE.fullmatch(self.resource_name)
        return console_url(*match.groups()) if match else self.resource_name

    @property
    def project(self) -> str:
        """Number or id of the project that it runs in; empty on this machine."""
        match = _RESOURCE.fullmatch(self.resource_name)
        return match[1] if match else ""

    def may_be_at(self, url: str) -> bool:
        """Whether a URL, as ``url`` makes it, can be this job's. A project's number and its id cannot be compared."""
        (page, _, project), (own_page, _, own_project) = url.partition("?project="), self.url.partition("?project=")
        is_comparable = project.isdigit() == own_project.isdigit()
        return not self.url or (page == own_page and (project == own_project or not is_comparable))


@dataclass(frozen=True)
class TaskRun:
    """How far a task has come.

    Args:
        name: task name.
        log: file or page with what it printed.
        state: one of the states above.
        attempt: 1 for the first.
        seconds: how long it took; only the last attempt, where the platform tells.
        error: why it failed.
        outputs: its output parameters and artifacts.
        origin: the job whose result was taken instead of running the task; empty if it ran, or that is not known.
        containers: what ran it, one for each attempt: ``projects/…/customJobs/…`` on Vertex AI.
        created: when all that it waits for had ended, with time zone; None if that has not happened, or is not known.
        started: when its first attempt began; the last one, where the platform tells no more.
        ended: when it ended.
        attempts: when each attempt began, as far as that is known.
        custom_job: the custom job of its last attempt, ``projects/…/customJobs/…``, if it is known and the step runs as
            one of its own.
    """

    name: str
    log: str
    state: str = State.PENDING
    attempt: int = 0
    seconds: float = 0.0
    error: str = ""
    outputs: Mapping[str, Any] | None = None
    origin: str = ""
    containers: tuple[str, ...] = ()
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    attempts: tuple[datetime, ...] = ()
    custom_job: str = ""

    @property
    def is_shown(self) -> bool:
        """Whether people look for it: tasks that only hand on artifacts are of interest only when they failed."""
        return not self.name.startswith((IMPORT_PREFIX, GATHER_PREFIX)) or self.state == State.FAILED

    def parts(self) -> dict[str, float]:
        """Part of a step → its seconds, as its log on this machine tells; empty if it does not."""
        lines = [line for line in self.log_end().splitlines() if line.startswith(TIMING)]
        return json.loads(lines[-1].removeprefix(TIMING)) if lines else {}

    def log_end(self) -> str:
        """The end of its log on this machine; empty if the log is elsewhere."""
        log = Path(self.log)
        if not self.log or not log.is_file():
            return ""
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_END))
            return file.read().decode(errors="replace")


@dataclass(frozen=True)
class CustomJob:
    """The custom job of a step that runs as one, for one attempt.

    Args:
        name: ``projects/…/locations/…/customJobs/…``.
        task: the label that says which task it is of.
        state: one of Vertex AI's JobState, without its prefix.
    """

    name: str
    task: str
    state: str

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED")


@dataclass(frozen=True)
class PipelineJob:
    """How far a pipeline job has come, on Vertex AI or on this machine.

    Args:
        name: job name.
        resource_name: see ``JobIdentity``.
        state: one of the states above, or another of Vertex AI's PipelineState: QUEUED, CANCELLING, PAUSED.
        tasks: by name, in the order they were created; empty in a list of jobs.
        pipeline: Kedro name of its pipeline.
        created, started, ended: when, with time zone; None if not yet.
        error: why it failed, in the platform's words.
        labels: its labels.
        spec: its compiled spec; empty in a list of jobs.
        service_account: the account that its steps run as.
        root: URI below which it keeps its artifacts.
        run_context: Vertex AI's metadata context of the job; empty until there is one.
    """

    name: str
    resource_name: str
    state: str
    tasks: Mapping[str, TaskRun]
    pipeline: str = ""
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    error: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    run_context: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    service_account: str = ""
    root: str = ""

    @property
    def url(self) -> str:
        """Where a person looks at the job."""
        return self.identity.url

    @property
    def identity(self) -> JobIdentity:
        """What is known of it without asking its tasks."""
        return JobIdentity(self.name, resource_name=self.resource_name)

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return self.state == State.SUCCEEDED

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in ENDED

    @property
    def failed_tasks(self) -> list[TaskRun]:
        """The tasks that have failed."""
        return [task for task in self.tasks.values() if task.state == State.FAILED]

    @property
    def mlflow_run(self) -> str:
        """Where a person looks at its MLflow run; empty until the first task has reported it."""
        started = self.tasks.get(START_TASK)
        return ((started and started.outputs) or {}).get("parameters", {}).get(MLFLOW_RUN, "")

    @property
    def mlflow_run_is_left(self) -> bool:
        """Whether the job has ended without the task that ends its MLflow run."""
        finish = self.tasks.get(FINISH_TASK)
        return self.has_ended and not (finish and finish.state == State.SUCCEEDED)


@dataclass(frozen=True)
class MlflowRun:
    """The MLflow run of a job.

    Args:
        status: MLflow's run status: RUNNING, FINISHED, FAILED, KILLED.
        url: where a person looks at it.
        failed_node: Kedro node that failed; empty if none did.
        error: why it failed.
    """

    status: str
    url: str
    failed_node: str = ""
    error: str = ""


@dataclass(frozen=True)
class RunContents:
    """What is in the MLflow run of a job, and in its logs, for a page that shows both.

    Args:
        params: MLflow param → its value.
        metrics: MLflow metric → its last value.
        images: path of an artifact → the file; empty if it is too large or cannot be read.
        links: what is there → its address.
        log_tails: task → the last lines that it printed.
    """

    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    log_tails: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As a process hands it to another one."""
        images = {name: b64encode(content).decode() for name, content in self.images.items()}
        return json.dumps({**vars(self), "images": images})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote."""
        values = json.loads(text)
        images = {name: b64decode(content) for name, content in values.pop("images").items()}
        return cls(**values, images=images)


def new_job_name(pipeline: str) -> str:
    """A name that no other job has, as Vertex AI accepts it for a job id.

    Args:
        pipeline: name of the compiled pipeline.
    """
    moment = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    return f"{pipeline[:100]}-{moment}-{uuid.uuid4().hex[:4]}"


def console_url(project_id: str, region: str, job: str = "") -> str:
    """The page of a pipeline job in Google's console; the page that lists all jobs if none is given."""
    place = f"locations/{region}/pipelines/runs/{quote(job, safe='', errors='replace')}" if job else "pipelines/runs"
    return f"{_CONSOLE}/vertex-ai/{place}?project={project_id}"


def custom_job_url(name: str) -> str:
    """The page of a custom job, ``projects/…/customJobs/…``, in Google's console."""
    _, project, _, region, _, number = name.split("/")
    return f"{_CONSOLE}/vertex-ai/locations/{region}/training/{number}?project={project}"


def log_url(containers: list[str]) -> str:
    """The page in Google's console with the logs of these custom jobs, ``projects/…/customJobs/…``; empty if none."""
    if not containers:
        return ""
    project = containers[0].split("/")[1]
    ids = " OR ".join(f'"{name.rpartition("/")[2]}"' for name in containers)
    query = quote(f'resource.type="ml_job" resource.labels.job_id=({ids})', safe="")
    return f"{_CONSOLE}/logs/query;query={query}?project={project}"
