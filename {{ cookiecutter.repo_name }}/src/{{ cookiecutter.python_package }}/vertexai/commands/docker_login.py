"""``kedro vertexai docker-login``"""

import click

from . import options


@click.command("docker-login")
@options.image
@options.pass_environment
def command(environment: options.Environment, image: str | None) -> None:
    """Log docker in to the registry of the image as Google's ambient identity, for an hour."""
    from ...auth.credentials import GoogleAuthError, advice_for
    from ...auth.gcp import access_token
    from ..docker import login, registry_of
    from ..errors import UserError

    project = environment.project()
    project.refuse_placeholders("vertexai")
    registry = registry_of(image or project.settings.run_config.image)
    try:
        token = access_token()
    except GoogleAuthError as error:
        raise UserError(f"{advice_for(error)} ({error})") from None
    login(registry, token)
    click.echo(f"docker is logged in to {registry}")
