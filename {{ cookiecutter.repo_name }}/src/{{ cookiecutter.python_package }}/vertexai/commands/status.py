"""``kedro vertexai status``"""

import json

import click

from . import options
from .watch import exit_code, mlflow_runs, settle, show_failures, watch

# For a page of CI: GitHub's summary of a job, GitLab's report with links.
_PAGES = ["markdown", "annotations"]


@click.command("status")
@options.job
@options.wait_for_completion
@click.option("--format", "style", type=click.Choice(["table", "json", *_PAGES]), default="table", show_default=True)
@options.pass_environment
@click.pass_context
def command(
    ctx: click.Context, environment: options.Environment, job: str, wait_for_completion: bool, style: str
) -> None:
    """Show how far JOB has come. Ends its MLflow run if the job has ended without doing so."""
    from rich.console import Console

    from .. import render

    vertex = environment.vertex()
    if wait_for_completion:
        ctx.exit(exit_code(watch(environment, vertex, job)))
    found = vertex.get(job)
    if style == "json":
        click.echo(json.dumps(render.job_as_dict(found), indent=2))
    elif style in _PAGES:
        as_page = render.job_as_markdown if style == "markdown" else render.job_as_annotations
        click.echo(as_page(found, mlflow_runs(environment, [job]).get(job)))
    else:
        Console().print(render.job_as_table(found))
        show_failures(found)
        click.echo(f"Vertex AI: {found.url}")
        if found.mlflow_run:
            click.echo(f"MLflow:    {found.mlflow_run}")
    settle(environment, found)
