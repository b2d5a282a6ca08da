"""What differs between two states of a project's plans, as Markdown for a pull request."""

from collections.abc import Mapping
from typing import Any

from ..compile.difference import changed_schedules, changed_steps
from ..markdown import as_cell, as_table

# More would make a comment that nobody reads, and that GitHub refuses.
_MAX_ROWS = 100


def as_markdown(before: Mapping[str, Any], after: Mapping[str, Any], env: str) -> str:
    """Tell what differs.

    Args:
        before, after: ``pipelines`` and ``schedules`` of each state; see ``compile.difference``. If there is an
            ``error``, that state could not be read.
        env: the configuration environment.
    """
    lines = [f"### Plans in {as_cell(env or 'base')}", ""]
    if error := before.get("error"):
        return "\n".join([*lines, f"The plans of before could not be made, so nothing is compared: {as_cell(error)}"])
    together: dict[tuple[str, str], list[str]] = {}  # pipeline and change → the steps that change in this way
    for name, step, change in changed_steps(before["pipelines"], after["pipelines"]):
        together.setdefault((name, change), []).append(step)
    rows = [tuple(map(as_cell, (name, ", ".join(steps), change))) for (name, change), steps in together.items()]
    lines += [as_table(("pipeline", "step", "change"), rows[:_MAX_ROWS]) if rows else "No step changes."]
    lines += [f"\n… and {len(rows) - _MAX_ROWS} more changes"] if len(rows) > _MAX_ROWS else []
    schedules = [tuple(map(as_cell, row)) for row in changed_schedules(before["schedules"], after["schedules"])]
    lines += ["", as_table(("schedule", "change"), schedules) if schedules else "No schedule changes."]
    changed = {name for name, _change in together}
    unchanged = [as_cell(name) for name in after["pipelines"] if name not in changed]
    if unchanged and rows:
        lines += ["", f"Unchanged: {', '.join(unchanged)}"]
    return "\n".join(lines)
