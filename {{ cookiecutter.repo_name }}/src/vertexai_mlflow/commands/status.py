"""``kedro vertexai status``"""

import click

from ..cloud.client import Vertex
from ..show import tables
from . import console, options, say, say_json
from .follow import exit_code, follow, mlflow_runs, settle, show_failures

# For a page of CI: the summary of a GitHub job, the report with links of a GitLab job.
_PAGES = {"markdown": tables.job_as_markdown, "annotations": tables.job_as_annotations}


@click.command("status")
@options.job
@options.wait_for_completion
@click.option("--format", "style", type=click.Choice(["table", "json", *_PAGES]), default="table", show_default=True)
@options.pass_environment
def command(environment: options.Environment, job: str, wait_for_completion: bool, style: str) -> None:
    """Show how far a job has come.

    If the job has ended without ending its MLflow run, the run is ended as well.
    """
    vertex = Vertex(environment.project().target)
    if wait_for_completion:
        click.get_current_context().exit(exit_code(follow(environment, vertex, job)))
    pipeline_job = vertex.get(job)
    if style == "json":
        say_json(tables.job_as_dict(pipeline_job))
    elif style in _PAGES:
        say(_PAGES[style](pipeline_job, mlflow_runs(environment, [pipeline_job]).get(job)))
    else:
        console().print(tables.job_as_table(pipeline_job))
        show_failures(pipeline_job)
        say(f"Vertex AI: {pipeline_job.url}")
        if pipeline_job.mlflow_run:
            say(f"MLflow:    {pipeline_job.mlflow_run}")
    settle(environment, pipeline_job)
