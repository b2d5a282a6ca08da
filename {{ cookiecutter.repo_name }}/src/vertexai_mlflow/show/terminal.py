"""Print to the terminal or a log of CI. Markup and control sequences in a text have no effect."""

import json
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from ..errors import masked, shown


def say(text: str, colour: str | None = None, *, err: bool = False, nl: bool = True) -> None:
    """Print a text. Commands print only with this function and the two below."""
    click.secho(shown(text), fg=colour, err=err, nl=nl)


def say_json(data: Any) -> None:
    """Print data for a program, without what looks like a secret."""
    # JSON has no control characters. Escape the bracket of a command that a runner of CI would obey.
    click.echo(masked(json.dumps(data, indent=2, default=lambda model: model.model_dump())).replace("##[", r"##\u005b"))


def console(**options: Any) -> Console:
    """A console of rich for tables and progress that shows texts as they are."""
    return _Console(highlight=False, markup=False, emoji=False, **options)


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:  # rich calls it for each text that is not a Text already
        return super().render_str(shown(text), **options)
