"""``kedro vertexai bootstrap``: what ``make bootstrap`` does, with the same options."""

import click

from ..infra.__main__ import main
from . import options


@click.command("bootstrap", add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@options.pass_environment
def command(environment: options.Environment, arguments: tuple[str, ...]) -> None:
    """Create what an environment needs in Google Cloud; --dry-run prints the plan."""
    main(environment.path, [*(["--env", environment.env] if environment.env else []), *arguments])
