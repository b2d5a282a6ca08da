"""The project's own commands, which Kedro adds to ``kedro``: add yours to the group ``cli``."""

import click

# `python -m <package>` and the package's script look for the run command here.
from kedro.framework.cli.project import run

from vertexai_mlflow.cli import vertexai

__all__ = ["cli", "run"]


@click.group(commands=[vertexai])
def cli() -> None:
    """Commands of this project."""
