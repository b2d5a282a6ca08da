"""``kedro vertexai ui``"""

import sys

import click

from . import options


@click.command("ui")
@click.argument("job", required=False)
@options.pass_environment
def command(environment: options.Environment, job: str | None) -> None:
    """Print the address of JOB in Google's console, or of all jobs, and open it if there is a terminal."""
    from ..job import console_url
    from ..request import target

    project = environment.project()
    to = target(project.settings, project.settings_file)
    url = f"https://console.cloud.google.com/vertex-ai/pipelines/runs?project={to.project_id}"
    if job:
        url = console_url(f"projects/{to.project_id}/locations/{to.region}/pipelineJobs/{job}")
    click.echo(url)
    if sys.stdout.isatty():
        click.launch(url)
