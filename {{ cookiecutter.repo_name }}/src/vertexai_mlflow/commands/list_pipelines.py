"""``kedro vertexai list-pipelines``"""

import click

from ..cloud.client import Vertex
from ..cloud.request import is_elsewhere, labels_of
from ..show import tables
from . import console, options, say_json
from .follow import mlflow_runs


@click.command("list-pipelines")
@click.option("-p", "--pipeline", help="Only jobs of this pipeline.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many jobs.")
@options.style
@options.pass_environment
def command(environment: options.Environment, pipeline: str | None, limit: int, style: str) -> None:
    """List this project's pipeline jobs in this environment, newest first."""
    project = environment.project()
    run_config, labels = project.settings.run_config, labels_of(project.package_name, environment.env, pipeline)
    jobs = Vertex(project.target).jobs(
        labels, limit, lambda job: not is_elsewhere(job.service_account, job.root, run_config)
    )
    runs = mlflow_runs(environment, jobs)
    if style == "json":
        say_json([tables.job_as_dict(job, runs.get(job.name)) for job in jobs])
    else:
        console().print(tables.jobs_as_table(jobs, runs))
