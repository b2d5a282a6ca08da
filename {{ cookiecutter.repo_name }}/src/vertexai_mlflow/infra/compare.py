"""Compare what exists in Google Cloud with what the project needs. Nothing is changed here."""

import json
import shlex
from collections.abc import Iterable
from typing import Any

from ..errors import UserError
from . import gcloud
from .wanted import OWNER, Thing

Commands = tuple[tuple[str, ...], ...]


def commands_for(things: Iterable[Thing], named: set[str], adopt: bool) -> list[tuple[Thing, Commands]]:
    """Each thing with the commands that make it as it should be; there are none for one that is.

    Args:
        things: what the project needs.
        named: the keys of ``globals.yml`` that have a value.
        adopt: whether to take over what those name and what does not say whose it is.

    Raises:
        UserError: with everything that exists and is not as it should be. It may belong to somebody else.
    """
    compared: list[tuple[Thing, Commands]] = []
    refused = []
    for thing in things:
        found = gcloud.read(*thing.command("describe"))
        if found is None:
            compared.append((thing, (thing.command("create"), *thing.then)))
            continue
        # What was deleted is still shown for a while, as it was.
        was_deleted = found.get("state") == "DELETED" or found.get("deleted")
        wrong = {"deleted": "it was deleted"} if was_deleted else _differences(found, thing)
        for item in (gcloud.read(*thing.contents) if thing.contents else None) or []:
            if (other := item["name"].rpartition("/")[2]) != thing.only:
                wrong[other] = f"{other} is in it as well, and may let in anybody"
        marked = OWNER in found.get("description", "")
        unmarked = list(wrong) == ["description"] and not marked and thing.fact in named
        if wrong and not (unmarked and adopt):
            refused.append(_refusal(thing, wrong, unmarked))
        compared.append((thing, (thing.command("update"),) if wrong else ()))
    if refused:
        raise UserError("\n".join(refused))
    return compared


def _differences(found: dict[str, Any], thing: Thing) -> dict[str, str]:
    """Field → what it is and must be, for each that is not as it must be."""
    wrong = {}
    for name, wanted in thing.settings.items():
        value: Any = found
        for key in name.split("."):
            value = (value or {}).get(key)
        value = sorted(value) if isinstance(value, list) else value
        # An API leaves a field out that is false or empty.
        if (value or None) != wanted:
            wrong[name] = f"{name} is {_shown(value)} and must be {_shown(wanted)}"
    return wrong


def _shown(value: object) -> str:
    return json.dumps(value) if value else "unset"


def _refusal(thing: Thing, wrong: dict[str, str], unmarked: bool) -> str:
    if "deleted" in wrong:
        return (
            f"{thing.name} was deleted, and its name cannot be used again for 30 days. Bring it back with: "
            f"gcloud {shlex.join(thing.command('undelete'))}"
        )
    if unmarked:
        return (
            f"{thing.name} exists, is named in globals.yml ({thing.fact}), and does not say whose it is. If nobody "
            "else uses it, take it over with --adopt, which replaces its description."
        )
    cure = f"To have another one, change {thing.fact} in globals.yml. " if thing.fact else ""
    return (
        f"{thing.name} exists, but it is not one that {thing.reason}: {'; '.join(wrong.values())}. It may belong to "
        f"somebody else, so it was not changed. {cure}If it belongs to this environment alone, correct it with: "
        f"gcloud {shlex.join(thing.command('update'))}"
    )
