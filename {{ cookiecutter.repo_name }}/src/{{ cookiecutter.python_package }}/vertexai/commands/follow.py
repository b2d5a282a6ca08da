"""Following a job on the terminal and telling how it ended, for the commands that do."""

import click

from ...errors import UserError
from .. import tracking
from ..cloud.client import Vertex
from ..contract.job import JobIdentity, MlflowRun, PipelineJob
from ..show.progress import progress
from .options import Environment


def follow(environment: Environment, vertex: Vertex, job_id: str) -> PipelineJob | None:
    """Show a job's tasks as they start and end, and how the job ended.

    Returns:
        The job; None after Ctrl-C, which leaves it running.
    """
    try:
        with progress() as show:
            job = vertex.follow(job_id, show, lambda trouble: click.secho(f"Looking again: {trouble}", err=True))
    except KeyboardInterrupt:
        click.echo(f"\nThe job goes on. Follow it with: {environment.kedro} status {job_id} --wait-for-completion")
        click.echo(f"Stop it with: {environment.kedro} cancel {job_id}")
        return None
    show_failures(job)
    settle(environment, job)
    if job.mlflow_run:
        click.echo(f"MLflow: {job.mlflow_run}")
    click.secho(f"{job.name}: {job.state}", fg="green" if job.succeeded else "red")
    return job


def exit_code(job: PipelineJob | None) -> int:
    """A command's exit code after ``follow``: 0 if the job succeeded, 1 if not, 130 after Ctrl-C."""
    if job is None:
        return 130
    return 0 if job.succeeded else 1


def show_failures(job: PipelineJob) -> None:
    """Print each failed task with its error and the address of its log; the job's own error if no task has failed."""
    for task in job.failed_tasks:
        click.secho(f"\n{task.name} failed: {task.error}", fg="red")
        if task.log:
            click.echo(f"Its log: {task.log}")
    if job.error and not job.failed_tasks:
        click.secho(f"\n{job.error}", fg="red")


def mlflow_runs(environment: Environment, names: list[str]) -> dict[str, MlflowRun]:
    """Job name → its MLflow run; none of them, and a warning, when MLflow does not answer."""
    if not names:
        return {}
    try:
        with tracking.connected(environment.path, environment.env):
            return tracking.runs_of(names)
    except UserError as error:
        click.secho(f"MLflow runs are not shown. {error}", fg="yellow", err=True)
        return {}


def settle(environment: Environment, job: PipelineJob) -> None:
    """End the MLflow run of a job that has ended without its exit task, and say so."""
    if not job.mlflow_run_is_left:
        return
    try:
        with tracking.connected(environment.path, environment.env):
            failed = [task.name for task in job.failed_tasks]
            status = tracking.settle(JobIdentity(job.name, "", job.resource_name), job.state, job.error, failed)
    except UserError as error:
        click.secho(f"The MLflow run could not be ended. {error}", fg="yellow", err=True)
        click.secho(f"Try again with: {environment.kedro} status {job.name}", fg="yellow", err=True)
        return
    if status:
        click.echo(f"The job's exit task did not run, so its MLflow run was ended now: {status}.", err=True)
