"""Following a job on the terminal, for the commands that do."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..client import Vertex
    from ..job import PipelineJob


def watch(vertex: "Vertex", job_id: str, env: str | None) -> int:
    """Show a job's tasks as they come and go.

    Returns:
        The command's exit code: 0 if the job succeeded, 1 if not, 130 after Ctrl-C, which leaves the job alone.
    """
    from .. import job
    from ..progress import progress

    try:
        with progress() as show:
            done = vertex.follow(job_id, show, lambda trouble: click.secho(f"Looking again: {trouble}", err=True))
    except KeyboardInterrupt:
        kedro = f"kedro vertexai {f'-e {env} ' if env else ''}"
        click.echo(f"\nThe job goes on. Follow it with: {kedro}status {job_id} --wait-for-completion")
        click.echo(f"Stop it with: {kedro}cancel {job_id}")
        return 130
    show_failures(done)
    if done.mlflow_run:
        click.echo(f"MLflow: {done.mlflow_run}")
    click.secho(f"{done.name}: {done.state}", fg="green" if done.state == job.SUCCEEDED else "red")
    return 0 if done.state == job.SUCCEEDED else 1


def show_failures(done: "PipelineJob") -> None:
    """Each failed task with its error and its log's address; the job's own error if no task has failed."""
    from ..job import FAILED

    failed = [task for task in done.tasks.values() if task.state == FAILED]
    for task in failed:
        click.secho(f"\n{task.name} failed: {task.error}", fg="red")
        if task.log:
            click.echo(f"Its log: {task.log}")
    if done.error and not failed:
        click.secho(f"\n{done.error}", fg="red")
