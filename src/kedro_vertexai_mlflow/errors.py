"""The exception for errors that the user can fix."""

import click


class UserError(click.ClickException):
    """Ends a command with ``Error: …`` and exit code 1. The message says what is wrong, where, and what to do."""
