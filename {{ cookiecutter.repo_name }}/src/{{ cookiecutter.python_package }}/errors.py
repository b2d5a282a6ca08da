"""What a user can put right: two exceptions, each with a message that says what is wrong, where, and what to do."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

# A fact that nobody has filled in yet, as the template leaves it: <gcp-project-id>.
PLACEHOLDER = re.compile(r"<[^<>]+>")


class UserError(Exception):
    """A mistake that the user can correct. Commands print the message without a traceback and exit with code 1."""


class AuthorizationError(SystemExit):
    """There is no usable token. Ends the process with the message and exit code 1.

    It is deliberately not an ``Exception``: MLflow catches those and then sends the request without its header.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest of the known words; a list of all of them when none is near."""
    known = sorted(known)
    nearest = get_close_matches(word, known, n=1)
    if nearest:
        return f" Did you mean '{nearest[0]}'?"
    return f" Known: {', '.join(known)}." if known else ""


def not_filled_in(places: Iterable[str]) -> str:
    """The message about placeholders, the same from every command.

    Args:
        places: where each one stands, ``conf/cloud/globals.yml: client_id: <oauth-client-id>``.
    """
    return f"Not filled in yet: {'; '.join(places)}"


@contextmanager
def launch_extra() -> Iterator[None]:
    """Around an import that a step's image does not have.

    Raises:
        UserError: when it is not installed here either.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        cure = "Install what launching needs: pip install -e '.[launch]'"
        raise UserError(f"{error.name} is not installed. {cure}") from None
