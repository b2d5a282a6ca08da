"""Vertex AI's message about a pipeline job → ``PipelineJob`` with its tasks."""

import re
from typing import Any

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from ..contract.job import PipelineJob, State, TaskRun, log_url
from .request import PIPELINE


def job_of(job: types.PipelineJob) -> PipelineJob:
    """Translate a pipeline job of the API. A job that comes from a list has no tasks."""
    details = job.job_detail.task_details
    # The API lists two graphs among the tasks: the job itself, and the exit handler, which KFP has named.
    graphs = {detail.parent_task_id for detail in details}
    graphs |= {detail.task_id for detail in details if re.fullmatch(r"exit-handler-\d+", detail.task_name)}
    tasks = [_task(detail) for detail in details if detail.task_id not in graphs]
    return PipelineJob(
        name=job.name.rpartition("/")[2],
        resource_name=job.name,
        state=job.state.name.removeprefix("PIPELINE_STATE_"),
        pipeline=job.labels.get(PIPELINE, ""),
        created=job.create_time or None,
        started=job.start_time or None,
        ended=job.end_time or None,
        error=job.error.message,
        labels=dict(job.labels),
        run_context=job.job_detail.pipeline_run_context.name,
        spec=json_format.MessageToDict(types.PipelineJob.pb(job).pipeline_spec),
        tasks={task.name: task for task in tasks},
    )


def _task(detail: types.PipelineTaskDetail) -> TaskRun:
    executor = detail.executor_detail
    containers = [*executor.container_detail.failed_main_jobs, executor.container_detail.main_job]
    containers += [*executor.custom_job_detail.failed_jobs, executor.custom_job_detail.job]
    containers = [name for name in containers if name]
    seconds = (detail.end_time - detail.start_time).total_seconds() if detail.end_time and detail.start_time else 0.0
    # Vertex AI keeps the output parameters of a task in the metadata of its execution.
    outputs = {
        key.removeprefix("output:"): value
        for key, value in dict(detail.execution.metadata or {}).items()
        if key.startswith("output:")
    }
    state = detail.state.name
    return TaskRun(
        name=detail.task_name,
        log=log_url(containers),
        state=state,
        attempt=max(len(containers), int(state == State.RUNNING)),
        seconds=seconds,
        error=detail.error.message,
        outputs={"parameters": outputs, "artifacts": _artifacts(detail)},
        containers=tuple(containers),
    )


def _artifacts(detail: types.PipelineTaskDetail) -> dict[str, Any]:
    """Key of an output artifact → its ``uri`` and ``metadata``."""
    found = types.PipelineTaskDetail.pb(detail).outputs
    return {
        key: {"uri": item.artifacts[0].uri, "metadata": json_format.MessageToDict(item.artifacts[0].metadata)}
        for key, item in found.items()
        if item.artifacts
    }
