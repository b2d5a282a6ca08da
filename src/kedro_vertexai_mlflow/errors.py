"""The one exception for what a user can put right."""

import click


class UserError(click.ClickException):
    """Ends a command with ``Error: …`` and exit code 1. The message says what is wrong, where, and what to do."""
