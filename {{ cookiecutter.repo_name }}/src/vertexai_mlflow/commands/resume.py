"""``kedro vertexai resume``"""

from typing import Any

import click

from ..cloud.client import Vertex
from ..cloud.request import labels_of, refuse_foreign_job
from . import options
from .run_once import Launching, launch, launching


@click.command("resume")
@options.job
@options.params
@launching
@options.pass_environment
@options.rerun
def command(
    environment: options.Environment, job: str, rerun: list[str], params: dict[str, Any], how: Launching
) -> None:
    """Run the unfinished steps of an earlier job, with today's code and image.

    What the earlier job has finished is taken from it. Runtime parameters are those of that job; --params changes some.
    """
    project = environment.project()
    earlier = Vertex(project.target).get(job)
    refuse_foreign_job(earlier, project.settings.run_config, labels_of(project.package_name, project.env))
    launch(options.choose_rest_of(earlier, environment, params, rerun), how)
