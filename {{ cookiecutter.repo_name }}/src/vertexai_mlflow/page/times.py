"""When each step waited, started and ran, which steps decided how long the job took, and what grouping would spare."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ..contract.job import ENDED, State, TaskRun
from ..contract.names import is_step
from .graph import Graph, layers

# Parts of a step's time that a group of steps spends once: starting Python, and opening a session.
_WORK = ("data", "nodes", "mlflow")


@dataclass(frozen=True)
class Span:
    """What the timeline shows of a task, in seconds since the job's beginning.

    Args:
        created: when all that it waits for had ended.
        started: when it began.
        ended: when it ended, or now.
        retries: when its further attempts began.
    """

    created: float
    started: float
    ended: float
    retries: tuple[float, ...] = ()

    @property
    def waited(self) -> float:
        """How long it could have run and did not."""
        return self.started - self.created


def spans(runs: Mapping[str, TaskRun], start: datetime, now: datetime) -> dict[str, Span]:
    """The span of each task that has begun."""
    result = {}
    for name, run in runs.items():
        began = run.started or run.created
        if not began:
            continue
        end = run.ended or (now if run.state not in ENDED else began)
        created, started, ended = (
            max(0.0, (time - start).total_seconds()) for time in (run.created or began, began, end)
        )
        retries = tuple((time - start).total_seconds() for time in run.attempts[1:])
        result[name] = Span(min(created, started), started, max(started, ended), retries)
    return result


def critical_path(graph: Graph, times: Mapping[str, Span]) -> list[str]:
    """The tasks that the job waited for, from the first to the last: each is what the next one waited for longest."""
    if not times or not graph.upstream:
        return []
    path = [max(times, key=lambda name: times[name].ended)]
    while before := [name for name in graph.upstream.get(path[-1], ()) if name in times and name not in path]:
        path.append(max(before, key=lambda name: times[name].ended))
    return path[::-1] if len(path) > 1 else []


def chains(graph: Graph) -> list[list[str]]:
    """Straight chains of steps on equal machines, which ``ChainNodeGrouper`` would let run as one step each."""
    parents = {name: sorted(filter(is_step, before)) for name, before in graph.upstream.items() if is_step(name)}
    children = Counter(parent for before in parents.values() for parent in before)
    ends: dict[str, list[str]] = {}  # last step of a chain → the chain
    for name in (name for row in layers(parents) for name in row):
        before = parents[name]
        joins = len(before) == 1 and children[before[0]] == 1 and graph.machines[before[0]] == graph.machines[name]
        ends[name] = [*ends.pop(before[0]), name] if joins else [name]
    return [chain for chain in ends.values() if len(chain) > 1]


def spared(chain: list[str], runs: Mapping[str, TaskRun], times: Mapping[str, Span]) -> float:
    """Seconds that a chain spent between its steps and, as far as their logs tell, on starting all but the first."""
    seconds = 0.0
    for before, name in pairwise(chain):
        if before not in times or name not in times or runs[name].state != State.SUCCEEDED:
            continue
        seconds += max(0.0, times[name].started - times[before].ended)
        if parts := runs[name].parts():
            seconds += max(0.0, runs[name].seconds - sum(parts.get(part, 0.0) for part in _WORK))
    return seconds
