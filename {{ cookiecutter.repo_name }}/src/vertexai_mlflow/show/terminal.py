"""What commands print → the terminal or a log of CI, as text: no markup and no control sequence in it is obeyed."""

import json
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from ..errors import masked, shown


def say(text: str, colour: str | None = None, *, err: bool = False, nl: bool = True) -> None:
    """Print a text. Commands print by this function and the two below, and by nothing else."""
    click.secho(shown(text), fg=colour, err=err, nl=nl)


def say_json(data: Any) -> None:
    """Print data for a program, without what looks like a secret."""
    # JSON has no control characters. This is how it writes the bracket of a command that a runner of CI would obey.
    click.echo(masked(json.dumps(data, indent=2, default=lambda model: model.model_dump())).replace("##[", r"##\u005b"))


def console(**options: Any) -> Console:
    """A console of rich for tables and progress, whose texts are what they say."""
    return _Console(highlight=False, markup=False, emoji=False, **options)


class _Console(Console):
    def render_str(self, text: str, **how: Any) -> Text:  # by this, rich reads every text that is not a Text already
        return super().render_str(shown(text), **how)
