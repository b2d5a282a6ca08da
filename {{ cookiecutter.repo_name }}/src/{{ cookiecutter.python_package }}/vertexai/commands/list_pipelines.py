"""``kedro vertexai list-pipelines``"""

import json

import click

from . import options
from .watch import mlflow_runs


@click.command("list-pipelines")
@click.option("-p", "--pipeline", help="Only jobs of this pipeline.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many jobs.")
@options.style
@options.pass_environment
def command(environment: options.Environment, pipeline: str | None, limit: int, style: str) -> None:
    """List this project's pipeline jobs in this environment, newest first."""
    from rich.console import Console

    from .. import render
    from ..request import labels_of

    labels = labels_of(environment.project().package_name, environment.env, pipeline)
    jobs = environment.vertex().jobs(labels, limit)
    found = mlflow_runs(environment, [job.name for job in jobs])
    if style == "json":
        click.echo(json.dumps([render.job_as_dict(job, found.get(job.name)) for job in jobs], indent=2))
    else:
        Console().print(render.jobs_as_table(jobs, found))
