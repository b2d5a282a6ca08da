"""``kedro vertexai push``"""

import click

from . import options


@click.command("push")
@options.image
@options.pass_environment
def command(environment: options.Environment, image: str | None) -> None:
    """Build the image, push it, and print it by digest."""
    from ..docker import build_and_push

    project = environment.project()
    project.refuse_placeholders("vertexai")
    click.echo(build_and_push(project.path, image or project.settings.run_config.image))
