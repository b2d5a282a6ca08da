"""The project's own commands, which Kedro adds to ``kedro``."""

import click

from .vertexai.cli import vertexai


@click.group()
def cli() -> None:
    """Commands of this project."""


cli.add_command(vertexai)
