"""``kedro vertexai logs``"""

import click

from ..cloud.client import Vertex
from ..cloud.logs import read_logs
from . import options, say
from .follow import with_custom_jobs


@click.command("logs")
@options.job
@click.option("--step", help="Only this task's.")
@options.pass_environment
def command(environment: options.Environment, job: str, step: str | None) -> None:
    """Print what the steps of a job have printed, oldest line first.

    All attempts of a step that was tried again are in it.
    """
    vertex = Vertex(environment.project().target)
    for line in read_logs(vertex.target.project_id, with_custom_jobs(vertex, vertex.get(job)), step):
        say(f"{line.time[:19]} {line.severity:<8} {line.task}: {line.text}")
