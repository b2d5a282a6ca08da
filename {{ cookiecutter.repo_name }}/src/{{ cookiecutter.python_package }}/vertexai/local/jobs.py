"""What a local job leaves in its folder, for a job that resumes it."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from ...errors import UserError, did_you_mean
from ..contract.job import PipelineJob, State, TaskRun

_FILE = "job.json"


def write_job(job: PipelineJob, folder: Path) -> None:
    """Write down a job, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"state": job.state, "tasks": {name: asdict(run) for name, run in job.tasks.items()}, "spec": job.spec}
    partial = folder / f".{_FILE}.{os.getpid()}"
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.replace(folder / _FILE)


def read_job(folder: Path) -> PipelineJob:
    """Read what was written down. A job that was killed before its end has failed.

    Raises:
        UserError: when there is no such job.
    """
    try:
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = [path.parent.name for path in folder.parent.glob(f"*/{_FILE}")]
        raise UserError(f"There is no job {folder.name} on this machine.{did_you_mean(folder.name, known)}") from None
    state = State.FAILED if content["state"] == State.RUNNING else content["state"]
    tasks = {name: TaskRun(**run) for name, run in content["tasks"].items()}
    return PipelineJob(folder.name, folder.as_uri(), state, tasks, spec=content["spec"])
