"""The one exception for what a user can mend: a sentence with what is wrong, where, and the cure."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class UserError(Exception):
    """Shown without a traceback; the command exits with 1."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest of the known words, else what there is to choose from."""
    known = sorted(known)
    nearest = get_close_matches(word, known, n=1)
    if nearest:
        return f" Did you mean '{nearest[0]}'?"
    return f" There is: {', '.join(known)}." if known else ""


@contextmanager
def launch_extra() -> Iterator[None]:
    """Around the import of what a step's image does not have.

    Raises:
        UserError: when it is not installed here either.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        cure = "Install what launching needs: pip install -e '.[launch]'"
        raise UserError(f"{error.name} is not installed. {cure}") from None
