"""The project's own commands, which Kedro adds to ``kedro``."""

import click

# `python -m <package>` and the package's script look for the run command here.
from kedro.framework.cli.project import run

from .vertexai.cli import vertexai

__all__ = ["cli", "run"]


@click.group()
def cli() -> None:
    """Commands of this project."""


cli.add_command(vertexai)
