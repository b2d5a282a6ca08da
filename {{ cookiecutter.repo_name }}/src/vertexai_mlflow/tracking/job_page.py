"""The page of a job as an artifact of its run, made of what the run itself knows: its tags, params, metrics, images."""

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.entities import Run

from ..contract import names
from ..contract.job import JobIdentity, PipelineJob, RunContents, TaskRun
from ..contract.spec import Spec
from ..errors import shown
from ..page import render
from . import find_run
from .contents import contents_of
from .files import log_text
from .steps import StepRecord, step_records

_LOG = logging.getLogger(__name__)


def log_page(job: JobIdentity, status: Mapping[str, Any]) -> RunContents:
    """Keep the page of a job that has ended in its run, if it has one. The job does not fail because it cannot.

    Args:
        job: the pipeline job.
        status: see ``finish``.

    Returns:
        What is in the run.
    """
    try:
        if not (run := find_run(job)):
            return RunContents()
        contents = contents_of(run)
        log_text(run.info.run_id, render(_job_of(job, run, str(status["state"])), contents), names.PAGE_FILE)
        return contents
    except Exception as error:
        _LOG.warning("The job has no page in MLflow: %s", shown(str(error)))
        return RunContents()


def _job_of(job: JobIdentity, run: Run, state: str) -> PipelineJob:
    """A job as its run knows it."""
    tags = run.data.tags
    return PipelineJob(
        name=job.name,
        resource_name=job.resource_name,
        state=state,
        pipeline=tags.get(names.PIPELINE_TAG, ""),
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        ended=datetime.fromtimestamp((run.info.end_time or run.info.start_time) / 1000, UTC),
        error=tags.get(names.ERROR_TAG, ""),
        spec=_spec_of(run),
        tasks={record.task: _task_of(record) for record in step_records(tags)},
    )


def _task_of(record: StepRecord) -> TaskRun:
    started = datetime.fromisoformat(record.started) if record.started else None
    return TaskRun(
        record.task,
        log="",
        state=record.state,
        attempt=record.attempts,
        seconds=record.seconds,
        error=record.error,
        origin=record.origin,
        started=started,
        ended=started + timedelta(seconds=record.seconds) if started else None,
    )


def _spec_of(run: Run) -> Spec:
    """The spec that the first task has kept in the run; empty if there is none."""
    try:
        with TemporaryDirectory() as folder:
            file = mlflow.MlflowClient().download_artifacts(run.info.run_id, names.SPEC_FILE, folder)
            return json.loads(Path(file).read_text(encoding="utf-8"))
    except Exception:  # a page without the graph is better than none
        return {}
