"""Following a job on the terminal and telling how it ended, for the commands that do."""

from .. import tracking
from ..cloud.client import Vertex
from ..cloud.logs import log_tails
from ..cloud.request import CODE
from ..contract.arguments import JobArguments
from ..contract.job import MlflowRun, PipelineJob
from ..contract.names import FINISH_TASK
from ..contract.spec import tasks
from ..errors import UserError
from ..notify import notify
from ..show.last_lines import last_lines
from ..show.progress import progress
from ..tracking.outcome import outcome_of
from . import options, say
from .options import Environment

# In how many lines at the end of a failed step's log its traceback is looked for.
_LAST_LINES = 500


def follow(environment: Environment, vertex: Vertex, job_id: str) -> PipelineJob | None:
    """Show a job's tasks as they start and end, and how the job ended.

    Returns:
        The job; None after Ctrl-C, which leaves it running.
    """
    try:
        with progress() as show:
            job = with_custom_jobs(vertex, vertex.follow(job_id, show, show_retry))
    except KeyboardInterrupt:
        say(f"\nThe job goes on. Follow it with: {environment.kedro} status {job_id} --wait-for-completion")
        say(f"Stop it with: {environment.kedro} cancel {job_id}")
        return None
    show_failures(job)
    _show_last_lines(vertex, job)
    settle(environment, job)
    if job.mlflow_run:
        say(f"MLflow: {job.mlflow_run}")
    if not job.succeeded:
        how = " --upload-code" if CODE in job.labels else ""
        options.show_how_to_go_on(job, f"{environment.kedro} resume {job.name}{how}")
    say(f"{job.name}: {job.state}", colour="green" if job.succeeded else "red")
    return job


def with_custom_jobs(vertex: Vertex, job: PipelineJob) -> PipelineJob:
    """A job with the custom jobs of its steps, if this identity may list them."""
    try:
        return vertex.with_custom_jobs(job)
    except UserError as error:
        say(f"The custom jobs of the steps are not shown. {error}", colour="yellow", err=True)
        return job


def show_retry(error: str) -> None:
    """Say that Vertex AI is asked again."""
    say(f"Vertex AI did not answer, retrying: {error}", err=True)


def exit_code(job: PipelineJob | None) -> int:
    """A command's exit code after ``follow``: 0 if the job succeeded, 1 if not, 130 after Ctrl-C."""
    if job is None:
        return 130
    return 0 if job.succeeded else 1


def show_failures(job: PipelineJob) -> None:
    """Print each failed task with its error and the address of its log; the job's own error if no task has failed."""
    for task in job.failed_tasks:
        say(f"\n{task.name} failed: {task.error}", colour="red")
        if task.log:
            say(f"Its log: {task.log}")
    if job.error and not job.failed_tasks:
        say(f"\n{job.error}", colour="red")


def _show_last_lines(vertex: Vertex, job: PipelineJob) -> None:
    """Print the end of the log of each step that has failed, if this identity may read it."""
    try:
        for task, lines in log_tails(vertex.target.project_id, job, _LAST_LINES):
            say("\n".join([f"\nFrom the log of {task}:", *(f"  {line}" for line in last_lines(lines))]))
    except UserError as error:
        say(f"The logs are not shown. {error}", colour="yellow", err=True)


def mlflow_runs(environment: Environment, jobs: list[PipelineJob]) -> dict[str, MlflowRun]:
    """Job name → its MLflow run; none of them, and a warning, when MLflow does not answer."""
    if not jobs:
        return {}
    try:
        with tracking.connected(environment.path, environment.env):
            return tracking.runs_of(jobs)
    except UserError as error:
        say(f"MLflow runs are not shown. {error}", colour="yellow", err=True)
        return {}


def settle(environment: Environment, job: PipelineJob) -> None:
    """End the MLflow run of a job that has ended without its exit task, and say so."""
    if not job.mlflow_run_is_left:
        return
    try:
        with tracking.connected(environment.path, environment.env):
            failed = [task.name for task in job.failed_tasks]
            status = tracking.settle(job.identity, job.state, job.error, failed)
            if status:
                _notify(job)
    except UserError as error:
        say(f"The MLflow run could not be ended. {error}", colour="yellow", err=True)
        say(f"Try again with: {environment.kedro} status {job.name}", colour="yellow", err=True)
        return
    if status:
        say(f"The job's exit task did not run, so its MLflow run was ended now: {status}.", err=True)


def _notify(job: PipelineJob) -> None:
    """Tell those who want to hear of it how a job has ended that could not do that itself."""
    containers = [task.container for task in tasks(job.spec) if task.name == FINISH_TASK]
    arguments = JobArguments.of(containers[0].get("args", [])) if containers else None
    if not arguments or not arguments.notify:
        return
    status = {"state": job.state, "error": {"message": job.error}}
    identity = job.identity
    message = notify(lambda: outcome_of(identity, arguments, status, True), arguments.notify, identity.project)
    if message:
        say(message, err=True)
