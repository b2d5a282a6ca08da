"""How a local job and its graphs ended, and the files in its folder from which a later job can resume it."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from ..contract.job import PipelineJob, RunContents, State, TaskRun
from ..contract.names import CONTENTS_FILE, FINISH_TASK
from ..contract.spec import Spec
from ..errors import UserError, did_you_mean
from ..whole_file import write_whole

_JOB = "job.json"
_SPEC = "pipeline.json"
_TIMES = ("created", "started", "ended")


def state_of(runs: Iterable[TaskRun]) -> str:
    """The state of a job or graph of these tasks, when they have ended."""
    states = {run.state for run in runs}
    return next((state for state in (State.CANCELLED, State.FAILED) if state in states), State.SUCCEEDED)


def final_status(name: str, job: str, runs: Sequence[TaskRun], display: Mapping[str, str]) -> dict[str, Any]:
    """KFP's PipelineTaskFinalStatus of a task or graph, its error worded as by Vertex AI.

    Args:
        name: name of the task or graph.
        job: resource name of the job.
        runs: its tasks.
        display: task → the name that people see.
    """
    state, error = state_of(runs), {}
    failed = [run for run in runs if run.state == State.FAILED]
    if state == State.FAILED:
        names = ", ".join(display[run.name] for run in failed)
        message = f"The DAG failed because some tasks failed. The failed tasks are: [{names}]."
        reasons = "; ".join(f"{run.name}: {run.error}" for run in failed)
        error = {"code": 9, "message": f"{message}; {reasons}"}
    return {"state": state, "pipelineJobResourceName": job, "pipelineTaskName": name, "error": error}


def write_spec_of_job(spec: Spec, folder: Path) -> None:
    """Write the spec of a job to its folder; once, because a spec may be large."""
    write_json(spec, folder / _SPEC)


def write_job(job: PipelineJob, folder: Path) -> None:
    """Write the progress of a job to its folder. This process is the one that runs it."""
    times = {name: getattr(job, name) for name in _TIMES}
    content = {"state": job.state, "process": os.getpid(), **times}
    write_json({**content, "tasks": {name: asdict(run) for name, run in job.tasks.items()}}, folder / _JOB)


def has_job(folder: Path) -> bool:
    """Whether a job of this machine has this folder."""
    return (folder / _JOB).is_file()


def read_job(folder: Path) -> PipelineJob:
    """Read a job from its folder. A job that was killed before its end has failed.

    Raises:
        UserError: when there is no such job.
    """
    try:
        content, spec = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (_JOB, _SPEC))
    except (OSError, ValueError):
        names = [path.parent.name for path in folder.parent.glob(f"*/{_JOB}")]
        raise UserError(f"There is no job {folder.name} on this machine.{did_you_mean(folder.name, names)}") from None
    is_killed = content["state"] == State.RUNNING and not _is_alive(content.get("process", 0))
    tasks = {name: _read_task(run) for name, run in content["tasks"].items()}
    created, started, ended = (_read_time(content.get(name)) for name in _TIMES)
    return PipelineJob(
        folder.name, folder.as_uri(), State.FAILED if is_killed else content["state"], tasks, spec=spec,
        created=created, started=started, ended=ended,
    )  # fmt: skip


def _read_task(run: Mapping[str, Any]) -> TaskRun:
    times = {name: _read_time(run.get(name)) for name in _TIMES}
    attempts = tuple(datetime.fromisoformat(text) for text in run.get("attempts", ()))
    return TaskRun(**{**run, **times, "attempts": attempts, "containers": tuple(run.get("containers", ()))})


def _read_time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _is_alive(process: int) -> bool:
    """Whether a process of this machine has not ended; 0 is none."""
    with suppress(OSError):
        os.kill(process, 0)
        return process > 0
    return False


def require_writable(folder: Path) -> None:
    """Refuse to go on if no job can be kept in a folder; it need not be there yet.

    Raises:
        UserError: naming the folder.
    """
    try:
        with TemporaryFile(dir=folder if os.path.lexists(folder) else folder.parent):
            pass
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written ({error.strerror}), and run-local keeps jobs and logs there. Another user may "
            "own it: delete it, or give yourself the right to write."
        ) from None


def write_json(content: Any, file: Path) -> None:
    """Write JSON, completely or not at all. The file's folder is created if it is missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(content, default=datetime.isoformat))


def read_contents(folder: Path) -> RunContents | None:
    """What the last task of a job has found in the MLflow run; None if it has not come that far."""
    file = folder / FINISH_TASK / CONTENTS_FILE
    return RunContents.from_json(file.read_text(encoding="utf-8")) if file.exists() else None
