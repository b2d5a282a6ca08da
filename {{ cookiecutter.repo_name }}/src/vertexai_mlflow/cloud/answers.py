"""Vertex AI's message about a pipeline job → ``PipelineJob`` with its tasks."""

from collections.abc import Mapping
from typing import Any

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from ..contract.job import PipelineJob, State, TaskRun, log_url
from .request import PIPELINE
from .rights import cure_for


def job_of(job: types.PipelineJob) -> PipelineJob:
    """Translate a pipeline job of the API. A job that comes from a list has no tasks."""
    spec = json_format.MessageToDict(types.PipelineJob.pb(job).pipeline_spec)
    # The API lists graphs among the tasks, the job itself too, and names each by what people see.
    details = job.job_detail.task_details
    names = _names(spec) if details else {}
    found = [_task(names[detail.task_name], detail) for detail in details if detail.task_name in names]
    return PipelineJob(
        name=job.name.rpartition("/")[2],
        resource_name=job.name,
        state=job.state.name.removeprefix("PIPELINE_STATE_"),
        pipeline=job.labels.get(PIPELINE, ""),
        created=job.create_time or None,
        started=job.start_time or None,
        ended=job.end_time or None,
        error=_with_cure(job.error.message, spec),
        labels=dict(job.labels),
        run_context=job.job_detail.pipeline_run_context.name,
        spec=spec,
        tasks={task.name: task for task in found},
    )


def _names(spec: Mapping[str, Any]) -> dict[str, str]:
    """What the API may call a task that runs something → its name in the spec."""
    components = spec["components"]
    found: dict[str, str] = {}
    for graph in (spec["root"], *components.values()):
        for name, task in graph.get("dag", {}).get("tasks", {}).items():
            if "dag" not in components[task["componentRef"]["name"]]:
                found |= {name: name, task["taskInfo"]["name"]: name}
    return found


def _with_cure(error: str, spec: Mapping[str, Any]) -> str:
    """What the platform says about a failure, and what to grant if that is what it is about."""
    executors = spec.get("deploymentSpec", {}).get("executors", {}).values()
    images = (executor["container"]["image"] for executor in executors if "container" in executor)
    cure = cure_for(error, next(images, ""))
    return f"{error.rstrip('.')}. {cure}" if cure else error


def _task(name: str, detail: types.PipelineTaskDetail) -> TaskRun:
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
    state, artifacts = detail.state.name, _artifacts(detail)
    makers = [artifact["metadata"].get("job", "") for artifact in artifacts.values()]
    return TaskRun(
        name=name,
        log=log_url(containers),
        state=state,
        attempt=max(len(containers), int(state == State.RUNNING)),
        seconds=seconds,
        error=detail.error.message,
        outputs={"parameters": outputs, "artifacts": artifacts},
        # What a step makes says which job has made it.
        origin=next((made for made in makers if made), "") if state == State.SKIPPED else "",
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
