"""``kedro vertexai cancel``"""

import click

from ..cloud.client import Vertex
from ..contract.job import State
from . import options, say
from .follow import exit_code, follow


@click.command("cancel")
@options.job
@options.pass_environment
def command(environment: options.Environment, job: str) -> None:
    """Stop a job and end its MLflow run as KILLED.

    The command waits until the job has stopped.
    """
    vertex = Vertex(environment.project().target)
    pipeline_job = vertex.get(job)
    if pipeline_job.has_ended:
        say(f"Job {job} has already ended: {pipeline_job.state}")
        return
    vertex.cancel(job)
    # Google's launcher cancels the custom jobs of steps, unless it is gone already.
    for custom_job in vertex.custom_jobs(pipeline_job):
        if not custom_job.has_ended:
            vertex.cancel_custom_job(custom_job.name)
    ended = follow(environment, vertex, job)
    click.get_current_context().exit(0 if ended and ended.state == State.CANCELLED else exit_code(ended))
