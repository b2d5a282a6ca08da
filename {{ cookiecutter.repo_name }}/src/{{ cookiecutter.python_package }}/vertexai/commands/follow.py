"""Following a job on the terminal and telling how it ended, for the commands that do."""

from typing import TYPE_CHECKING

import click

from .options import Environment

if TYPE_CHECKING:
    from ..client import Vertex
    from ..job import MlflowRun, PipelineJob


def watch(environment: Environment, vertex: "Vertex", job_id: str) -> "PipelineJob | None":
    """Show a job's tasks as they come and go, and how it ended.

    Returns:
        The job; None after Ctrl-C, which leaves it alone.
    """
    from ..job import SUCCEEDED
    from ..progress import progress

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
    click.secho(f"{job.name}: {job.state}", fg="green" if job.state == SUCCEEDED else "red")
    return job


def exit_code(job: "PipelineJob | None") -> int:
    """A command's exit code after ``watch``: 0 if the job succeeded, 1 if not, 130 after Ctrl-C."""
    from ..job import SUCCEEDED

    if job is None:
        return 130
    return 0 if job.state == SUCCEEDED else 1


def show_failures(job: "PipelineJob") -> None:
    """Print each failed task with its error and its log's address; the job's own error if no task has failed."""
    from ..job import FAILED

    failed = [task for task in job.tasks.values() if task.state == FAILED]
    for task in failed:
        click.secho(f"\n{task.name} failed: {task.error}", fg="red")
        if task.log:
            click.echo(f"Its log: {task.log}")
    if job.error and not failed:
        click.secho(f"\n{job.error}", fg="red")


def mlflow_runs(environment: Environment, names: list[str]) -> "dict[str, MlflowRun]":
    """Job name → its MLflow run; none of them, and a warning, when MLflow does not answer."""
    from .. import runs
    from ..errors import UserError

    try:
        return runs.find(environment.path, environment.env, names) if names else {}
    except UserError as error:
        click.secho(f"Without MLflow runs: {error}", fg="yellow", err=True)
        return {}


def settle(environment: Environment, job: "PipelineJob") -> None:
    """End the MLflow run of a job that has ended without its exit task, and say so."""
    from ..errors import UserError
    from ..job import ENDED, SUCCEEDED
    from ..plan import FINISH_TASK

    finish = job.tasks.get(FINISH_TASK)
    if job.state not in ENDED or (finish and finish.state == SUCCEEDED):
        return
    from .. import runs

    try:
        status = runs.settle(environment.path, environment.env, job)
    except UserError as error:
        click.secho(f"The MLflow run could not be ended. {error}", fg="yellow", err=True)
        click.secho(f"Try again with: {environment.kedro} status {job.name}", fg="yellow", err=True)
        return
    if status:
        click.echo(f"The job's exit task has not run: its MLflow run is {status} now.", err=True)
