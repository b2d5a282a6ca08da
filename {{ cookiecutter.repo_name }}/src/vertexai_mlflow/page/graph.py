"""A job's spec → the graph of its steps, and the graph → a drawing in layers, as SVG."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil
from typing import Any
from unicodedata import east_asian_width

from ..contract.arguments import JobArguments, StepArguments
from ..contract.job import State, TaskRun
from ..contract.names import FINISH_TASK, START_TASK, is_step
from ..contract.spec import Task, tasks
from ..errors import UserError
from .markup import as_duration, as_text

# State → a sign, because not everybody can tell colours apart.
SIGNS: dict[str, str] = {
    State.SUCCEEDED: "✓", State.FAILED: "✕", State.RUNNING: "●", State.PENDING: "○", State.CANCELLED: "■",
    State.NOT_TRIGGERED: "–", State.SKIPPED: "↺",
}  # fmt: skip
_CLASSES: dict[str, str] = {
    State.SUCCEEDED: "ok", State.FAILED: "bad", State.RUNNING: "run", State.CANCELLED: "off", State.SKIPPED: "old",
}  # fmt: skip
# Pixels: a box, the room around it, and the same of a graph whose boxes have no text.
_WIDTH, _HEIGHT, _ACROSS, _DOWN = 150, 44, 16, 34
_SMALL, _SMALL_ACROSS, _SMALL_DOWN = 10, 6, 14
# Boxes side by side; a wider layer goes on in the next row.
_COLUMNS, _SMALL_COLUMNS = 4, 60
# With more tasks than this, a box has no text, and is no link.
READABLE = 120
_MAX_EDGES = 3000
# Letters of a label.
_LETTERS = 20
# How often layers are sorted by their neighbours, so that fewer lines cross.
_SWEEPS = 4


@dataclass(frozen=True)
class Graph:
    """What the spec of a job says about its steps.

    Args:
        upstream: task → the tasks that it waits for; without those that only hand on artifacts.
        nodes: step → its Kedro nodes.
        machines: step → what it asks of its machine and which image it runs in. Equal ones may run together.
        about: what the first task is told about the job; None if there is no such task.
    """

    upstream: Mapping[str, frozenset[str]] = field(default_factory=dict)
    nodes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)
    about: JobArguments | None = None

    def edges(self) -> list[tuple[str, str]]:
        """The lines of the drawing. What each task does anyway, waiting for the first one, is drawn once."""
        followed = {before for name, all_ in self.upstream.items() for before in all_ if name != FINISH_TASK}
        lines = []
        for name, before in self.upstream.items():
            steps = before - {START_TASK} or before
            if name == FINISH_TASK:
                steps = steps - (followed - {START_TASK}) or steps
            lines += [(other, name) for other in sorted(steps)]
        return lines


def read_graph(spec: Mapping[str, Any]) -> Graph:
    """The graph of a job; empty if its spec is, or has something in it that this platform does not write."""
    try:
        everything = tasks(spec) if spec else []
    except (UserError, KeyError, TypeError):
        return Graph()
    shown = {task.name: task for task in everything if is_step(task.name) or task.name in (START_TASK, FINISH_TASK)}
    about = shown.get(START_TASK)
    return Graph(
        {name: task.upstream & shown.keys() for name, task in shown.items()},
        {name: StepArguments.of(_argv(task)).nodes for name, task in shown.items()},
        {name: _machine(task) for name, task in shown.items()},
        JobArguments.of(_argv(about)) if about else None,
    )


def _argv(task: Task) -> Sequence[str]:
    return [str(item) for item in task.container.get("args", [])]


def _machine(task: Task) -> str:
    return json.dumps([task.container.get(part) for part in ("image", "resources", "customJob")], sort_keys=True)


def layers(upstream: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The tasks from top to bottom: each below all that it waits for, and near to them."""
    depth: dict[str, int] = {}
    left = dict(upstream)
    while left:
        ready = [
            name for name, before in left.items() if all(other in depth or other not in upstream for other in before)
        ]
        if not ready:  # no spec has a circle; whatever has one is shown all the same
            ready = list(left)
        for name in ready:
            depth[name] = 1 + max((depth.get(other, -1) for other in left.pop(name)), default=-1)
    rows: dict[int, list[str]] = defaultdict(list)
    for name, level in depth.items():
        rows[level].append(name)
    ordered = [rows[level] for level in sorted(rows)]
    below: dict[str, list[str]] = defaultdict(list)
    for name, before in upstream.items():
        for other in before:
            below[other].append(name)
    for sweep in range(_SWEEPS):
        neighbours = upstream if sweep % 2 == 0 else below
        place = {name: (index + 0.5) / len(row) for row in ordered for index, name in enumerate(row)}
        for row in ordered if sweep % 2 == 0 else reversed(ordered):
            row.sort(
                key=lambda name: _middle([place[other] for other in neighbours[name] if other in place], place[name])
            )
            place |= {name: (index + 0.5) / len(row) for index, name in enumerate(row)}
    return ordered


def _middle(places: list[float], otherwise: float) -> float:
    return sum(places) / len(places) if places else otherwise


def draw(graph: Graph, runs: Mapping[str, TaskRun], anchors: Mapping[str, str], path: Sequence[str]) -> str:
    """The drawing.

    Args:
        graph: the graph.
        runs: its tasks.
        anchors: task → the id of its row in the table below.
        path: the critical path.
    """
    edges = graph.edges()
    before: dict[str, list[str]] = {name: [] for name in graph.upstream}
    for one, other in edges:
        before[other].append(one)
    is_small = len(graph.upstream) > READABLE
    columns = _SMALL_COLUMNS if is_small else _COLUMNS
    width, height = (_SMALL, _SMALL) if is_small else (_WIDTH, _HEIGHT)
    across, down = (_SMALL_ACROSS, _SMALL_DOWN) if is_small else (_ACROSS, _DOWN)
    rows = [part for row in layers(before) for part in _cut(row, columns)]
    whole = max(len(row) for row in rows) * (width + across) - across + 4
    corners = {
        name: (
            round((whole - len(row) * (width + across) + across) / 2 + index * (width + across)),
            number * (height + down) + 2,
        )
        for number, row in enumerate(rows)
        for index, name in enumerate(row)
    }
    tall = len(rows) * (height + down) - down + 4
    steps = set(pairwise(path))
    on_path = [edge for edge in edges if edge in steps]
    others = [edge for edge in edges if edge not in steps][: _MAX_EDGES - len(on_path)]
    lines = ""
    for kind, some in (("e", others), ("e cp", on_path)):
        curves = (_line(corners[one], corners[other], width, height) for one, other in some)
        lines += f'<path class="{kind}" d="{"".join(curves)}"/>' if some else ""
    boxes = (
        _dots(corners, runs)
        if is_small
        else "".join(_box(name, *corner, runs[name], anchors.get(name, "")) for name, corner in corners.items())
    )
    count = f"{len(graph.upstream)} tasks and what each waits for"
    cut = f"<p class=m>{len(edges) - _MAX_EDGES} lines are left out.</p>" if len(edges) > _MAX_EDGES else ""
    return (
        '<div class=graph tabindex=0 role=region aria-label="Graph of the job">'
        f'<svg role="{"img" if is_small else "group"}" aria-label="{count}" width="{whole}" height="{tall}" '
        f'viewBox="0 0 {whole} {tall}">{lines}{boxes}</svg></div>{cut}'
    )


def _cut(row: list[str], columns: int) -> list[list[str]]:
    """A layer as rows of about the same length, none of which is too long."""
    length = ceil(len(row) / ceil(len(row) / columns))
    return [row[start : start + length] for start in range(0, len(row), length)]


def _line(start: tuple[int, int], end: tuple[int, int], width: int, height: int) -> str:
    """From the middle of the lower edge of a box to that of the upper edge of another."""
    x, y, to_x, to_y = start[0] + width // 2, start[1] + height, end[0] + width // 2, end[1]
    if x == to_x or height == _SMALL:
        return f"M{x} {y}L{to_x} {to_y}"
    bend = (to_y - y) // 2
    return f"M{x} {y}C{x} {y + bend} {to_x} {to_y - bend} {to_x} {to_y}"


def _dots(corners: Mapping[str, tuple[int, int]], runs: Mapping[str, TaskRun]) -> str:
    """All boxes of one state as one path, which takes a tenth of the bytes."""
    squares: dict[str, list[str]] = defaultdict(list)
    for name, (x, y) in corners.items():
        squares[runs[name].state].append(f"M{x} {y}h{_SMALL}v{_SMALL}h-{_SMALL}z")
    return "".join(f'<path class="d {css_class(state)}" d="{"".join(some)}"/>' for state, some in squares.items())


def _box(name: str, x: int, y: int, run: TaskRun, anchor: str) -> str:
    took = f" · {as_duration(run.seconds)}" if run.seconds and run.state != State.SKIPPED else ""
    box = (
        f'<g class="{css_class(run.state)}" transform="translate({x} {y})">'
        f"<title>{as_text(name)}</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="{22 if name in (START_TASK, FINISH_TASK) else 8}"/>'
        f'<text x="{_WIDTH // 2}" y="18">{as_text(_label(name))}</text>'
        f'<text class="s" x="{_WIDTH // 2}" y="34">{SIGNS.get(run.state, "?")} {word(run.state)}{took}</text></g>'
    )
    return f'<a href="#{anchor}">{box}</a>' if anchor else box


def _label(name: str) -> str:
    """As much of a name as a box has room for; a letter of East Asia takes that of two."""
    used, letters = 0, ""
    for letter in name:
        used += 2 if east_asian_width(letter) in "WF" else 1
        if used > _LETTERS:
            return f"{letters[:-1]}…"
        letters += letter
    return letters


def css_class(state: str) -> str:
    """The class of a state in the style sheet."""
    return _CLASSES.get(state, "no")


def word(state: str) -> str:
    """A state as a person would write it, as text."""
    return as_text(state.lower().replace("_", " "), 30)
