"""``kedro vertexai push``"""

import click

from ..image.docker import build_and_push
from . import options, say


@click.command("push")
@options.image
@options.pass_environment
def command(environment: options.Environment, image: str | None) -> None:
    """Build the image of the steps, push it, and print its name by digest."""
    project = environment.project()
    say(build_and_push(project.path, image or project.image))
