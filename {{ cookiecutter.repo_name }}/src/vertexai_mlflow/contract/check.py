"""A line of doctor's checklist: a function returns what it has seen, or raises what is wrong and how to fix it."""

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import AuthorizationError, UserError


class Doubt(Exception):
    """Something that may be wrong, or may be newer than this project. It stops nothing."""


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    Args:
        name: what was looked at.
        ok: whether the launch can go on.
        message: what was found, and how to fix it if something is wrong.
        doubtful: whether it is a warning.
        needed_to_ask: whether Google and MLflow cannot be asked while it fails.
    """

    name: str
    ok: bool
    message: str
    doubtful: bool = False
    needed_to_ask: bool = False


def check(name: str, look: Callable[[], str], needed_to_ask: bool = False) -> Check:
    """Run a check. An unexpected error is a line of its own, and the checks after it still run."""
    try:
        return Check(name, True, look(), needed_to_ask=needed_to_ask)
    except Doubt as doubt:
        return Check(name, True, str(doubt), doubtful=True)
    except (UserError, AuthorizationError) as error:
        return Check(name, False, str(error), needed_to_ask=needed_to_ask)
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {error}", needed_to_ask=needed_to_ask)
