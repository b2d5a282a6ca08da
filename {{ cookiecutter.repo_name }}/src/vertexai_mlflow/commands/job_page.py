"""The page of a job as a file, for the commands that write it."""

from dataclasses import replace
from pathlib import Path

from .. import page, tracking
from ..contract.job import PipelineJob, RunContents
from ..errors import UserError
from ..tracking.contents import contents_of
from ..whole_file import write_whole
from . import say
from .options import Environment

# How many lines of a failed step's log the page has, and of how many steps.
MAX_LINES = 40
MAX_STEPS = 10


def write(job: PipelineJob, contents: RunContents | None, file: Path) -> None:
    """Write the page, completely or not at all. The file's folder is created if it is missing.

    Raises:
        UserError: when it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, page.render(job, contents))
    except OSError as error:
        raise UserError(f"The job's page {file} cannot be written ({error.strerror}).") from None


def ask_mlflow(environment: Environment, job: PipelineJob) -> RunContents:
    """What is in the run of a job; nothing, and a warning, when MLflow does not answer."""
    try:
        with tracking.connected(environment.path, environment.env):
            run = tracking.find_run(job.identity)
            return contents_of(run) if run else RunContents()
    except UserError as error:
        say(f"Parameters, metrics and plots are not on the page. {error}", colour="yellow", err=True)
        return RunContents()


def with_local_logs(job: PipelineJob, contents: RunContents | None) -> RunContents:
    """Add the last lines of the failed steps of a job of this machine."""
    tails = {task.name: "\n".join(task.log_end().splitlines()[-MAX_LINES:]) for task in job.failed_tasks[:MAX_STEPS]}
    return replace(contents or RunContents(), log_tails=tails)
