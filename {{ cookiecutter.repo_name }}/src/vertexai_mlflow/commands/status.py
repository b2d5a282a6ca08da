"""``kedro vertexai status``"""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import click

from ..cloud.client import Vertex
from ..cloud.logs import log_tails
from ..compile.resume import job_arguments_of
from ..contract.job import PipelineJob, RunContents
from ..errors import UserError, short_path
from ..local.jobs import has_job, read_job, write_json
from ..show import kedro_viz, tables
from . import console, job_page, options, say, say_json
from .follow import exit_code, follow, mlflow_runs, settle, show_failures, with_custom_jobs

# For a page of CI: the summary of a GitHub job, the report with links of a GitLab job.
_PAGES = {"markdown": tables.job_as_markdown, "annotations": tables.job_as_annotations}


@click.command("status")
@options.job
@options.wait_for_completion
@click.option(
    "--format", "style", type=click.Choice(["table", "json", "html", *_PAGES]), default="table", show_default=True
)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="File for --format html.  [default: .vertexai/JOB/job.html]",
)  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open the page of --format html in the browser.")
@click.option("--viz", is_flag=True, help="Also write .viz/kedro_pipeline_events.json, which Kedro-Viz shows.")
@options.pass_environment
def command(
    environment: options.Environment,
    job: str,
    wait_for_completion: bool,
    style: str,
    output: Path | None,
    opens: bool,
    viz: bool,
) -> None:
    """Show how far a job has come.

    It may be a job of Vertex AI or one that run-local has started. If the job has ended without ending its MLflow run,
    the run is ended as well.
    """
    if (output or opens) and style != "html":
        raise click.UsageError("--output and --open go with --format html.")
    folder = environment.path / ".vertexai" / job
    vertex = None if has_job(folder) else Vertex(environment.project().target)
    page = (output or folder / "job.html") if style == "html" else None
    if wait_for_completion:
        if not vertex:
            raise click.UsageError("--wait-for-completion follows jobs on Vertex AI, and this one is of this machine.")
        followed = follow(environment, vertex, job)
        if followed:
            _write_files(environment, vertex, followed, page, viz)
        click.get_current_context().exit(exit_code(followed))
    pipeline_job = with_custom_jobs(vertex, vertex.get(job)) if vertex else read_job(folder)
    _write_files(environment, vertex, pipeline_job, page, viz)
    if page and opens:
        click.launch(str(page))
    if style == "json":
        say_json(tables.job_as_dict(pipeline_job))
    elif style in _PAGES:
        say(_PAGES[style](pipeline_job, mlflow_runs(environment, [pipeline_job]).get(job)))
    elif style == "table":
        console().print(tables.job_as_table(pipeline_job))
        show_failures(pipeline_job)
        say(f"Vertex AI: {pipeline_job.url}" if vertex else f"Folder:    {short_path(folder, Path.cwd())}")
        if pipeline_job.mlflow_run:
            say(f"MLflow:    {pipeline_job.mlflow_run}")
    settle(environment, pipeline_job)


def _write_files(
    environment: options.Environment, vertex: Vertex | None, job: PipelineJob, page: Path | None, viz: bool
) -> None:
    """Write the job's page and the events for Kedro-Viz, if they are asked for."""
    if not page and not viz:
        return
    contents = job_page.ask_mlflow(environment, job) if page else RunContents()
    contents = _with_cloud_logs(vertex, job, contents) if vertex else job_page.with_local_logs(job, contents)
    if page:
        job_page.write(job, contents, page)
        say(f"The job's page: {short_path(page, Path.cwd())}")
    if viz:
        _write_events(environment, job, contents)


def _write_events(environment: options.Environment, job: PipelineJob, contents: RunContents) -> None:
    """Write the events of a job to where Kedro-Viz looks for those of a run.

    Raises:
        UserError: when the job's spec does not say which pipeline it ran.
    """
    about = job_arguments_of(job)
    if not about:
        raise UserError(f"--viz: the spec of job {job.name} does not say which pipeline it ran.")
    nodes = environment.project().pipeline(about.pipeline).nodes
    run = mlflow_runs(environment, [job]).get(job.name) if job.failed_tasks else None
    file = environment.path / kedro_viz.FILE
    write_json(kedro_viz.as_events(job, nodes, run, contents.log_tails), file)
    say(f"Wrote {short_path(file, Path.cwd())}. Its view is called Workflow: kedro viz run", err=True)


def _with_cloud_logs(vertex: Vertex, job: PipelineJob, contents: RunContents) -> RunContents:
    """Add the last lines of the failed steps of a job on Vertex AI, if this identity may read them."""
    tails = {}
    try:
        for task, lines in islice(log_tails(vertex.target.project_id, job, job_page.MAX_LINES), job_page.MAX_STEPS):
            tails[task] = "\n".join(lines)
    except UserError as error:
        say(f"The logs are not on the page. {error}", colour="yellow", err=True)
    return replace(contents, log_tails=tails)
