"""Compare what exists in Google Cloud with what the project needs. Nothing is changed here."""

import json
import shlex
from collections.abc import Iterable
from typing import Any

from ..errors import UserError
from . import gcloud
from .wanted import OWNER_LABEL, OWNER_PREFIX, Resource

Commands = tuple[tuple[str, ...], ...]


def plan_commands(resources: Iterable[Resource], filled_in: set[str], adopt: bool) -> list[tuple[Resource, Commands]]:
    """Each resource with the commands that make it as it should be; no commands for one that is already.

    Args:
        resources: what the project needs.
        filled_in: the keys of ``globals.yml`` that have a value.
        adopt: whether to take over resources that those keys name and that do not name their owner.

    Raises:
        UserError: with everything that exists and is not as it should be. It may belong to somebody else.
    """
    planned: list[tuple[Resource, Commands]] = []
    refusals = []
    for resource in resources:
        existing = gcloud.read(*resource.command("describe"))
        if existing is None:
            finish = (resource.command("update"),) if resource.update_options else ()
            planned.append((resource, (resource.command("create"), *finish)))
            continue
        # For a while, Google still shows a deleted resource as it was.
        is_deleted = existing.get("state") == "DELETED" or existing.get("deleted")
        problems = {"deleted": "it was deleted"} if is_deleted else _find_problems(resource, existing)
        children = gcloud.read(*resource.list_children) if resource.list_children else None
        for child in (item["name"].rpartition("/")[2] for item in children or []):
            if child != resource.only_child:
                problems[child] = f"{child} is in it as well, and may let in anybody"
        names_owner = OWNER_PREFIX in existing.get("description", "")
        can_adopt = list(problems) == ["description"] and not names_owner and resource.globals_key in filled_in
        is_unmarked = list(problems) == [f"labels.{OWNER_LABEL}"] and not (existing.get("labels") or {}).get(
            OWNER_LABEL
        )
        if problems and not (is_unmarked or (can_adopt and adopt)):
            refusals.append(_explain_refusal(resource, problems, can_adopt))
        planned.append((resource, (resource.command("update"),) if problems else ()))
    if refusals:
        raise UserError("\n".join(refusals))
    return planned


def _find_problems(resource: Resource, existing: dict[str, Any]) -> dict[str, str]:
    """Each field that is not as it must be, with a message that says what it is and must be."""
    problems = {}
    for field, expected in resource.expected_fields.items():
        value: Any = existing
        for key in field.split("."):
            value = (value or {}).get(key)
        value = sorted(value) if isinstance(value, list) else value
        # An API leaves out a field that is false or empty.
        if (value or None) != expected:
            problems[field] = f"{field} is {_format(value)} and must be {_format(expected)}"
    return problems


def _format(value: object) -> str:
    return json.dumps(value) if value else "unset"


def _explain_refusal(resource: Resource, problems: dict[str, str], can_adopt: bool) -> str:
    name, key = resource.name, resource.globals_key
    if "deleted" in problems:
        return (
            f"{name} was deleted, and its name cannot be used again for 30 days. Bring it back with: "
            f"gcloud {shlex.join(resource.command('undelete'))}"
        )
    if can_adopt:
        return (
            f"{name} exists, is named in globals.yml ({key}), and does not say whose it is. If nobody else uses it, "
            "take it over with --adopt, which replaces its description."
        )
    advice = f"To have another one, change {key} in globals.yml. " if key else ""
    return (
        f"{name} exists, but it is not one that {resource.reason}: {'; '.join(problems.values())}. It may belong to "
        f"somebody else, so it was not changed. {advice}If it belongs to this environment alone, correct it with: "
        f"gcloud {shlex.join(resource.command('update'))}"
    )
