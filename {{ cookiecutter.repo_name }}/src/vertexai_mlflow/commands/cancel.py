"""``kedro vertexai cancel``"""

import click

from ..cloud.client import Vertex
from ..contract.job import PipelineJob, State
from ..errors import UserError
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
    _cancel_custom_jobs(vertex, pipeline_job)
    ended = follow(environment, vertex, job)
    click.get_current_context().exit(0 if ended and ended.state == State.CANCELLED else exit_code(ended))


def _cancel_custom_jobs(vertex: Vertex, job: PipelineJob) -> None:
    """Stop what steps have started as custom jobs. Google's launcher does so too, unless it is gone already."""
    try:
        for custom_job in vertex.custom_jobs(job):
            if not custom_job.has_ended:
                vertex.cancel_custom_job(custom_job.name)
    except UserError as error:
        say(f"The custom jobs of the steps were left to Google's launcher. {error}", colour="yellow", err=True)
