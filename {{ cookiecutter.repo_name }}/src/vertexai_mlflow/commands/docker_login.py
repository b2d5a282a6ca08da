"""``kedro vertexai docker-login``"""

import click

from ..auth.credentials import access_token
from ..image.docker import login, registry_of
from . import options, say


@click.command("docker-login")
@options.image
@options.pass_environment
def command(environment: options.Environment, image: str | None) -> None:
    """Log docker in to the registry of the image, for an hour.

    It is logged in as Google's ambient identity: your own login, or the one of the CI job.
    """
    registry = registry_of(image or environment.project().image)
    login(registry, access_token())
    say(f"docker is logged in to {registry}")
