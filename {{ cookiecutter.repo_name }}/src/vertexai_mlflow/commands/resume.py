"""``kedro vertexai resume``"""

from typing import Any

import click

from ..cloud.client import Vertex
from . import options
from .run_once import launch, launching


@click.command("resume")
@options.job
@options.again
@options.params
@launching
@options.pass_environment
def command(environment: options.Environment, job: str, again: list[str], params: dict[str, Any], **how: Any) -> None:
    """Launch a job that runs what an earlier one has not finished, with today's code and image.

    What the earlier job has finished is taken from it. Runtime parameters are those of that job; --params changes some.
    """
    earlier = Vertex(environment.project().target).get(job)
    launch(options.chosen_again(environment, earlier, params, again), **how)
