"""Translate Vertex AI's message about a pipeline job into a ``PipelineJob`` with its tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from ..contract.job import PipelineJob, State, TaskRun, log_url
from .permissions import suggest_fix
from .request import PIPELINE


def parse_job(job: types.PipelineJob) -> PipelineJob:
    """Translate a pipeline job of the API, of any version. A job that comes from a list has no tasks."""
    spec = json_format.MessageToDict(type(job).pb(job).pipeline_spec)
    # The API lists graphs among the tasks, the job itself too, and calls each by its display name.
    details = job.job_detail.task_details
    names = _map_task_names(spec) if details else {}
    region = job.name.split("/")[3]
    tasks = [_parse_task(names[detail.task_name], detail, region) for detail in details if detail.task_name in names]
    return PipelineJob(
        name=job.name.rpartition("/")[2],
        resource_name=job.name,
        state=job.state.name.removeprefix("PIPELINE_STATE_"),
        pipeline=job.labels.get(PIPELINE, ""),
        created=job.create_time or None,
        started=job.start_time or None,
        ended=job.end_time or None,
        error=_add_fix(job.error.message, spec, region),
        labels=dict(job.labels),
        run_context=job.job_detail.pipeline_run_context.name,
        spec=spec,
        service_account=job.service_account,
        root=job.runtime_config.gcs_output_directory,
        tasks={task.name: task for task in tasks},
    )


def _map_task_names(spec: Mapping[str, Any]) -> dict[str, str]:
    """By each name that the API may use for a task that runs something: the task's name in the spec."""
    components = spec["components"]
    names: dict[str, str] = {}
    for graph in (spec["root"], *components.values()):
        for name, task in graph.get("dag", {}).get("tasks", {}).items():
            if "dag" not in components[task["componentRef"]["name"]]:
                names |= {name: name, task["taskInfo"]["name"]: name}
    return names


def _add_fix(error: str, spec: Mapping[str, Any], region: str) -> str:
    """Vertex AI's message about a failure, and what helps if it is about a missing permission or a quota."""
    executors = spec.get("deploymentSpec", {}).get("executors", {}).values()
    images = (executor["container"]["image"] for executor in executors if "container" in executor)
    fix = suggest_fix(error, next(images, ""), region)
    return f"{error.rstrip('.')}. {fix}" if fix else error


def _parse_task(name: str, detail: types.PipelineTaskDetail, region: str) -> TaskRun:
    executor = detail.executor_detail
    containers = [*executor.container_detail.failed_main_jobs, executor.container_detail.main_job]
    containers += [*executor.custom_job_detail.failed_jobs, executor.custom_job_detail.job]
    containers = [container for container in containers if container]
    seconds = (detail.end_time - detail.start_time).total_seconds() if detail.end_time and detail.start_time else 0.0
    # Vertex AI keeps the output parameters of a task in the metadata of its execution.
    metadata = dict(detail.execution.metadata or {})
    parameters = {key.removeprefix("output:"): value for key, value in metadata.items() if key.startswith("output:")}
    state, artifacts = detail.state.name, _parse_artifacts(detail)
    # The metadata of an artifact says which job made it.
    jobs = (artifact["metadata"].get("job", "") for artifact in artifacts.values())
    return TaskRun(
        name=name,
        log=log_url(containers),
        state=state,
        attempt=max(len(containers), int(state == State.RUNNING)),
        seconds=seconds,
        error=_add_fix(detail.error.message, {}, region),
        outputs={"parameters": parameters, "artifacts": artifacts},
        origin=next(filter(None, jobs), "") if state == State.SKIPPED else "",
        containers=tuple(containers),
        created=detail.create_time or None,
        started=detail.start_time or None,
        ended=detail.end_time or None,
        attempts=tuple(
            status.update_time for status in detail.pipeline_task_status if status.state.name == State.RUNNING
        ),
    )


def with_custom_jobs(task: TaskRun, names: Sequence[str]) -> TaskRun:
    """A task with these custom jobs among what ran it; the last one is the one of its last attempt."""
    if not names:
        return task
    containers = tuple(dict.fromkeys((*task.containers, *names)))
    return replace(task, containers=containers, log=log_url(list(containers)), custom_job=names[-1])


def _parse_artifacts(detail: types.PipelineTaskDetail) -> dict[str, Any]:
    """``uri`` and ``metadata`` of the output artifacts, by key."""
    return {
        key: {"uri": item.artifacts[0].uri, "metadata": json_format.MessageToDict(item.artifacts[0].metadata)}
        for key, item in type(detail).pb(detail).outputs.items()
        if item.artifacts
    }
