"""``kedro vertexai ui``"""

import sys

import click

from ..contract.job import console_url
from . import options, say


@click.command("ui")
@click.argument("job", default="")
@options.pass_environment
def command(environment: options.Environment, job: str) -> None:
    """Print the address of a job in Google's console and open it.

    Without JOB it is the page of all jobs. It is opened only if there is a terminal.
    """
    target = environment.project().target
    url = console_url(target.project_id, target.region, job)
    say(url)
    if sys.stdout.isatty():
        click.launch(url)
