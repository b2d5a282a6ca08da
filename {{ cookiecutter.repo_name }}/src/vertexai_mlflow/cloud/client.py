"""The Vertex AI API of one project and region: submit, follow, list and cancel pipeline jobs, and change schedules.

It uses Google's generated clients over REST. A method makes only the calls that its name promises and looks up nothing
else, so a launcher needs few permissions.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import requests
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import BadGateway, Conflict, GatewayTimeout, NotFound
from google.api_core.retry import Retry, if_transient_error
from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1.services.job_service import JobServiceClient
from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
from google.cloud.aiplatform_v1.services.persistent_resource_service import PersistentResourceServiceClient
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask

from ..auth.credentials import default
from ..compile.custom_job import task_label
from ..contract.custom_job import TASK_LABEL, custom_job_of
from ..contract.job import CustomJob, PipelineJob, TaskRun
from ..errors import UserError
from ..settings.models import Target
from .api_errors import explain_errors, summarize
from .parsing import parse_job, with_custom_jobs
from .request import Request, check_job_id, find_differences
from .versions import V1, Version, needs_beta, version_for

_TIMEOUT = 60.0  # seconds to wait for one answer
_PATIENCE = 90.0  # seconds for which a failing call is retried
_LONG_PATIENCE = 1800.0  # the same while a job is followed: the job goes on, so there is time
# Fields of the jobs in a list. The root is in the runtime configuration.
_LISTED_FIELDS = [
    "name", "state", "create_time", "start_time", "end_time", "labels", "error", "service_account", "runtime_config",
]  # fmt: skip
_EXPERIMENT = "system.Experiment"  # schema of a metadata context that is an experiment
# Seconds between two looks at a job: the first pause, and the longest one.
_PAUSE = 1.0
_LONGEST_PAUSE = 10.0


class Vertex:
    """Vertex AI in one project and region.

    Args:
        target: project, region and endpoint; also an attribute.
        patience: seconds for which a request that fails for the moment is retried, with growing pauses.
        pause: seconds before the first retry, and between the first two looks at a job.

    Raises:
        UserError: when there are no Google credentials.
    """

    def __init__(self, target: Target, patience: float = _PATIENCE, pause: float = _PAUSE) -> None:
        self.target = target
        self._parent = f"projects/{target.project_id}/locations/{target.region}"
        self._patience, self._pause = patience, pause
        endpoint = ClientOptions(api_endpoint=target.api_endpoint)
        with explain_errors(target):
            self._client_options = {"transport": "rest", "client_options": endpoint, "credentials": default()}
        self._pipelines = V1.pipelines(**self._client_options)
        self._schedules = V1.schedules(**self._client_options)
        self._metadata = MetadataServiceClient(**self._client_options)

    def submit(self, request: Request, job_id: str) -> tuple[PipelineJob, bool]:
        """Start a pipeline job.

        Args:
            request: the pipeline job, made by ``request.make_request``.
            job_id: its id. Asking again with the same id starts no second job.

        Returns:
            The job, and whether it existed before this command.

        Raises:
            UserError: when Vertex AI refuses, or a job with other content has this id already.
        """
        failures: list[Exception] = []
        version = version_for(request)
        pipelines = self._client_for(version, "pipelines")
        with explain_errors(self.target):
            try:
                job = pipelines.create_pipeline_job(
                    parent=self._parent,
                    pipeline_job=_parse_message(version.types.PipelineJob, request),
                    pipeline_job_id=job_id,
                    **self._options(on_error=failures.append),
                )
                return parse_job(job), False
            except Conflict:
                job = pipelines.get_pipeline_job(name=self._job_name(job_id), **self._options())
        existing = parse_job(job)
        # Not by the label of its fingerprint, which whoever has created it could copy.
        if differences := find_differences(json_format.MessageToDict(type(job).pb(job)), request):
            raise UserError(
                f"--job-id {job_id}: this id belongs to another job ({existing.state}), which differs in "
                f"{', '.join(differences)}. Choose another id."
            )
        # If the connection was dropped in an earlier attempt, that attempt may have started this very job.
        return existing, not failures

    def get(self, job_id: str, **retry: Any) -> PipelineJob:
        """Look up a job with its tasks.

        Args:
            job_id: the job.
            retry: arguments of ``google.api_core.retry.Retry`` that differ from this client's own.

        Raises:
            UserError: when there is no job with this id, or Vertex AI refuses.
        """
        return parse_job(self._get(job_id, **retry))

    def _get(self, job_id: str, **retry: Any) -> types.PipelineJob:
        with explain_errors(self.target, f"job {job_id}"):
            return self._pipelines.get_pipeline_job(name=self._job_name(job_id), **self._options(**retry))

    def follow(
        self, job_id: str, on_change: Callable[[TaskRun], None], on_trouble: Callable[[str], None]
    ) -> PipelineJob:
        """Follow a job until it has ended.

        Args:
            job_id: the job.
            on_change: called with each change of a task's state.
            on_trouble: called with a message when Vertex AI fails to answer for the moment. Following goes on.

        Returns:
            The job as it ended.

        Raises:
            UserError: when Vertex AI refuses, or cannot be reached for half an hour.
        """
        seen: dict[str, tuple[str, int]] = {}
        pause = self._pause
        while True:
            job = self.get(job_id, timeout=_LONG_PATIENCE, on_error=lambda error: on_trouble(summarize(error)))
            for task in job.tasks.values():
                if seen.get(task.name) != (task.state, task.attempt):
                    seen[task.name] = (task.state, task.attempt)
                    on_change(task)
            if job.has_ended:
                return job
            time.sleep(pause)
            pause = min(pause * 1.2, _LONGEST_PAUSE)

    def jobs(
        self, labels: Mapping[str, str], limit: int, is_ours: Callable[[PipelineJob], bool] = lambda _job: True
    ) -> list[PipelineJob]:
        """List the newest jobs with these labels, newest first, without their tasks.

        Args:
            labels: those that a job must have.
            limit: how many jobs.
            is_ours: whether to list a job that has them.
        """
        filter_ = " AND ".join(f'labels.{name}="{value}"' for name, value in labels.items())
        request = types.ListPipelineJobsRequest(
            parent=self._parent,
            filter=filter_,
            page_size=min(limit, 100),
            order_by="create_time desc",
            read_mask=FieldMask(paths=_LISTED_FIELDS),
        )
        with explain_errors(self.target):
            jobs = self._pipelines.list_pipeline_jobs(request, **self._options())
            return list(islice(filter(is_ours, map(parse_job, jobs)), limit))

    def cancel(self, job_id: str) -> None:
        """Ask Vertex AI to cancel a job, which takes a while."""
        with explain_errors(self.target, f"job {job_id}"):
            self._pipelines.cancel_pipeline_job(name=self._job_name(job_id), **self._options())

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended."""
        with explain_errors(self.target, f"job {job_id}"):
            self._pipelines.delete_pipeline_job(name=self._job_name(job_id), **self._options()).result(timeout=_TIMEOUT)

    def join_experiment(self, job_id: str, name: str, description: str | None) -> None:
        """Associate a job with a Vertex AI experiment, as ``aiplatform.PipelineJob.submit(experiment=…)`` does.

        Args:
            job_id: the job. Vertex AI makes a metadata context for it only after a while. This method waits for it for
                at most this client's patience.
            name: the experiment, which is created if it does not exist.
            description: description of the experiment when it is created.

        Raises:
            UserError: when the job gets no metadata context, or Vertex AI refuses.
        """
        store = f"{self._parent}/metadataStores/default"
        experiment = f"{store}/contexts/{name}"
        deadline = time.monotonic() + self._patience
        while not (job := self.get(job_id)).run_context:
            if job.has_ended or time.monotonic() > deadline:
                raise UserError(f"Job {job_id} got no metadata context, so it is not in experiment {name}.")
            time.sleep(self._pause)
        exists = self.has_experiment(name)
        with explain_errors(self.target, f"experiment {name}"):
            if not exists:
                context = types.Context(
                    display_name=name,
                    schema_title=_EXPERIMENT,
                    schema_version="0.0.1",
                    metadata={"experiment_deleted": False},
                    description=description or "",
                )
                with suppress(Conflict):  # another job has created it in the meantime
                    self._metadata.create_context(parent=store, context=context, context_id=name, **self._options())
            self._metadata.add_context_children(context=experiment, child_contexts=[job.run_context], **self._options())

    def has_experiment(self, name: str) -> bool:
        """Whether there is a Vertex AI experiment of this name.

        Raises:
            UserError: when something else has this name, such as a pipeline.
        """
        with explain_errors(self.target, f"experiment {name}"):
            try:
                path = f"{self._parent}/metadataStores/default/contexts/{name}"
                context = self._metadata.get_context(name=path, **self._options())
            except NotFound:
                return False
        if context.schema_title != _EXPERIMENT:
            raise UserError(
                f"{name} is a context of type {context.schema_title} and no experiment. Choose another "
                "run_config.experiment_name."
            )
        return True

    def schedules(self, for_jobs: Iterable[Request] = ()) -> list[Request]:
        """List all schedules that launch pipeline jobs in the project and region, oldest first.

        Args:
            for_jobs: the jobs that they are to be compared with. Only if one of these needs a newer version of the API,
                that is asked; another one would not show what is compared.
        """
        version = next((version_for(job) for job in for_jobs if needs_beta(job)), V1)
        request = version.types.ListSchedulesRequest(
            parent=self._parent, filter="create_pipeline_job_request:*", order_by="create_time"
        )
        with explain_errors(self.target):
            schedules = self._client_for(version, "schedules").list_schedules(request, **self._options())
            return [json_format.MessageToDict(type(schedule).pb(schedule)) for schedule in schedules]

    def create_schedule(self, schedule: Request, paused: bool = False) -> None:
        """Create a schedule. The call is tried only once, because a second attempt could create a second schedule."""
        with explain_errors(self.target):
            client, body = self._make_schedule(schedule)
            created = client.create_schedule(parent=self._parent, schedule=body, timeout=_TIMEOUT, retry=None)
            if paused:
                self._schedules.pause_schedule(name=created.name, **self._options())

    def update_schedule(self, name: str, schedule: Request, fields: list[str]) -> None:
        """Change some fields of a schedule, named in the API's camel case. Jobs that it has launched go on."""
        mask = FieldMask()
        mask.FromJsonString(",".join(fields))
        with explain_errors(self.target, name):
            client, body = self._make_schedule({**schedule, "name": name})
            client.update_schedule(schedule=body, update_mask=mask, **self._options())

    def delete_schedule(self, name: str) -> None:
        """Delete a schedule. Jobs that it has launched go on."""
        with explain_errors(self.target, name):
            self._schedules.delete_schedule(name=name, **self._options()).result(timeout=_TIMEOUT)

    def custom_jobs(self, job: PipelineJob) -> list[CustomJob]:
        """List the custom jobs that the steps of a pipeline job run as, oldest first; see ``compile.custom_job``.

        If none of its steps does, nothing is asked.
        """
        executors = job.spec.get("deploymentSpec", {}).get("executors", {}).values()
        if not any(custom_job_of(executor.get("container", {})) for executor in executors):
            return []
        request = types.ListCustomJobsRequest(
            parent=self._parent, filter=f'display_name="{job.name}" AND labels.{TASK_LABEL}:*', page_size=100
        )
        with explain_errors(self.target):
            messages = list(JobServiceClient(**self._client_options).list_custom_jobs(request, **self._options()))
        return [
            CustomJob(message.name, message.labels[TASK_LABEL], message.state.name.removeprefix("JOB_STATE_"))
            for message in sorted(messages, key=lambda message: message.create_time)
        ]

    def with_custom_jobs(self, job: PipelineJob) -> PipelineJob:
        """A job whose tasks also know the custom jobs that they have launched."""
        started: dict[str, list[str]] = {}
        for custom_job in self.custom_jobs(job):
            started.setdefault(custom_job.task, []).append(custom_job.name)
        tasks = {name: with_custom_jobs(task, started.get(task_label(name), [])) for name, task in job.tasks.items()}
        return replace(job, tasks=tasks)

    def cancel_custom_job(self, name: str) -> None:
        """Ask Vertex AI to cancel a custom job."""
        with explain_errors(self.target, name):
            JobServiceClient(**self._client_options).cancel_custom_job(name=name, **self._options())

    def persistent_resource(self, name: str) -> Request:
        """Look up a persistent resource of this project and region.

        Raises:
            UserError: when there is none of this name, or Vertex AI refuses.
        """
        with explain_errors(self.target, f"persistent resource {name}"):
            message = PersistentResourceServiceClient(**self._client_options).get_persistent_resource(
                name=f"{self._parent}/persistentResources/{name}", **self._options()
            )
            resource: Request = json_format.MessageToDict(types.PersistentResource.pb(message))
            return resource

    def _make_schedule(self, schedule: Request) -> tuple[Any, Any]:
        """The client that takes a schedule, and the schedule as its message."""
        launch = {**schedule["createPipelineJobRequest"], "parent": self._parent}
        version = version_for(launch["pipelineJob"])
        body = _parse_message(version.types.Schedule, {**schedule, "createPipelineJobRequest": launch})
        return self._client_for(version, "schedules"), body

    def _client_for(self, version: Version, kind: str) -> Any:
        """The client of ``pipelines`` or ``schedules`` of a version of the API."""
        if version is V1:
            return self._pipelines if kind == "pipelines" else self._schedules
        return getattr(version, kind)(**self._client_options)

    def _job_name(self, job_id: str) -> str:
        check_job_id(job_id)  # it becomes a part of the address
        return f"{self._parent}/pipelineJobs/{job_id}"

    def _options(self, **retry: Any) -> dict[str, Any]:
        """Timeout and retry of a call."""
        usual = {"predicate": _is_transient, "initial": self._pause, "maximum": 20.0, "timeout": self._patience}
        return {"timeout": _TIMEOUT, "retry": Retry(**{**usual, **retry})}


def _is_transient(error: Exception) -> bool:
    """Whether it is worth asking again: after 429, 500, 502, 503, 504, a time-out, or a dropped connection."""
    return if_transient_error(error) or isinstance(error, BadGateway | GatewayTimeout | requests.Timeout)


def _parse_message(type_: Any, content: Mapping[str, Any]) -> Any:
    """Turn JSON content into a message of the API."""
    return type_.wrap(json_format.ParseDict(content, type_.pb()()))
