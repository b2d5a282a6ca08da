"""``kedro vertexai cancel``"""

import click

from . import options
from .watch import exit_code, watch


@click.command("cancel")
@options.job
@options.pass_environment
@click.pass_context
def command(ctx: click.Context, environment: options.Environment, job: str) -> None:
    """Stop JOB, wait until it has stopped, and end its MLflow run as KILLED."""
    from ..job import CANCELLED, ENDED

    vertex = environment.vertex()
    state = vertex.get(job).state
    if state in ENDED:
        click.echo(f"Job {job} has ended already: {state}")
        return
    vertex.cancel(job)
    ended = watch(environment, vertex, job)
    ctx.exit(0 if ended and ended.state == CANCELLED else exit_code(ended))
