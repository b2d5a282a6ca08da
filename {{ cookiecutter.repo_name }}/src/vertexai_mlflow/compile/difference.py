"""All pipelines of a project in one record, and what differs between two of these: of a branch and of main, say."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..settings.models import ScheduleConfig
from .fingerprint import changed_parts, unknown_parts
from .plan import Plan

# Pipeline → step → what is said about it; a pipeline that cannot be planned has the error in place of the steps.
Plans = Mapping[str, Mapping[str, Any] | str]
# What of a step is compared, by its name in the record.
_COMPARED = ("nodes", "inputs", "outputs", "after", "resources", "cached")


def as_record(plan: Plan) -> dict[str, Any]:
    """The steps of a plan, in a form that is the same after it was JSON."""
    return {
        step.name: {
            "nodes": list(step.nodes),
            "inputs": list(step.inputs),
            "outputs": list(step.outputs),
            "after": list(step.after),
            "resources": step.resources.model_dump(mode="json", exclude_none=True),
            "cached": step.cached,
            "fingerprint": step.fingerprint,
        }
        for step in plan.steps
    }


def schedules_as_record(schedules: Mapping[str, ScheduleConfig]) -> dict[str, Any]:
    """The entries of ``run_config.schedules``, in a form that is the same after it was JSON."""
    return {name: entry.model_dump(mode="json", exclude_defaults=True) for name, entry in schedules.items()}


def changed_steps(before: Plans, after: Plans) -> Iterator[tuple[str, str, str]]:
    """Yield what differs between the plans of all pipelines, as pipeline, step (empty for all of it) and change."""
    for name in {**after, **before}:
        old, new = before.get(name), after.get(name)
        if isinstance(new, str):
            yield name, "", new
        elif new is None:
            yield name, "", "removed"
        elif old is None:
            yield name, "", f"added, {len(new)} steps: {', '.join(new)}"
        elif isinstance(old, str):
            yield name, "", f"can be planned again, {len(new)} steps"
        else:
            for step in {**new, **old}:
                if change := _change(old.get(step), new.get(step)):
                    yield name, step, change


def changed_schedules(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what differs between the schedules, as entry and change."""
    for name in {**after, **before}:
        if before.get(name) != after.get(name):
            old, new = before.get(name), after.get(name)
            yield name, "removed" if new is None else _added_or(new) if old is None else _values(old, new)


def _added_or(entry: Mapping[str, Any]) -> str:
    return f"added: {', '.join(f'{key} {value}' for key, value in entry.items())}"


def _change(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> str:
    """What differs about a step; empty if nothing does."""
    if old is None or new is None:
        return "removed" if new is None else "added"
    changes = [f"{key}: {_values(old[key], new[key])}" for key in _COMPARED if old[key] != new[key]]
    if parts := changed_parts(old["fingerprint"], new["fingerprint"]):
        changes.append(f"its {' and '.join(parts)} changed")
    if parts := unknown_parts(old["fingerprint"], new["fingerprint"]):
        changes.append(f"its {' and '.join(parts)} cannot be compared")
    return "; ".join(changes)


def _values(old: Any, new: Any) -> str:
    """What of a list, a dictionary or a value was added, has gone, or is another one."""
    if isinstance(old, Mapping):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return ", ".join(f"{key} {old.get(key, 'unset')} → {new.get(key, 'unset')}" for key in keys)
    if isinstance(old, list):
        added = [f"+{item}" for item in new if item not in old]
        gone = [f"-{item}" for item in old if item not in new]
        return ", ".join([*added, *gone]) or "another order"
    return f"{old} → {new}"
