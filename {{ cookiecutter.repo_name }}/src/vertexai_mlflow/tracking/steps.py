"""How far each step of a job has come, as the tags of its MLflow run say: a tag for each step, which it alone writes.

A run's tags have no compare-and-set, so that a table in one tag would lose the line of one of two steps that end at
once. The first task writes the tags of all steps, each step its own from then on, and the last task those of the steps
that could not do that any more.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Self

from ..contract import names
from ..contract.arguments import StepArguments
from ..contract.custom_job import machine_of
from ..contract.job import State
from ..contract.spec import Spec, tasks

# Characters of a step's nodes, and of the error of one that failed, in its tag. A tag holds 5,000 in older stores.
_LIMIT = 500


@dataclass(frozen=True)
class StepRecord:
    """How far a step has come.

    Args:
        task: its task name.
        number: its place in the order in which steps can run, from 0.
        nodes: its Kedro nodes, separated by commas.
        machine: what it asks for; empty for the platform's default.
        state: one of ``State``.
        started: when its last attempt began, in UTC: ``2026-11-29T10:05:33+00:00``; empty if it has not.
        seconds: how long that took; 0 until its end.
        attempts: how often it was started.
        node: the node that runs, or has failed; empty otherwise.
        error: why it failed.
        origin: the job whose result was taken instead of running the step.
    """

    task: str
    number: int = 0
    nodes: str = ""
    machine: str = ""
    state: str = State.PENDING
    started: str = ""
    seconds: float = 0.0
    attempts: int = 0
    node: str = ""
    error: str = ""
    origin: str = ""

    def as_tag(self) -> dict[str, str]:
        """Name and value of its tag."""
        fields = {name: value for name, value in asdict(self).items() if value and name != "task"}
        for name in ("nodes", "error"):
            if len(text := fields.get(name, "")) > _LIMIT:
                fields[name] = f"{text[:_LIMIT]} …"
        return {names.STEP_TAG + self.task: json.dumps(fields, ensure_ascii=False)}

    @classmethod
    def of(cls, tags: Mapping[str, str], task: str) -> Self:
        """The record of a step. It is a new one if there is no tag, or somebody has written something else there."""
        try:
            return cls(**{**json.loads(tags.get(names.STEP_TAG + task, "{}")), "task": task})
        except (TypeError, ValueError):
            return cls(task)

    @property
    def is_unended(self) -> bool:
        """Whether it has begun and not succeeded. A step that is killed stays so; one that failed may be retried."""
        return self.state in (State.RUNNING, State.FAILED)


def step_records(tags: Mapping[str, str]) -> list[StepRecord]:
    """The records of all steps, in the order in which they can run."""
    steps = [name.removeprefix(names.STEP_TAG) for name in tags if name.startswith(names.STEP_TAG)]
    return sorted((StepRecord.of(tags, task) for task in steps), key=lambda record: (record.number, record.task))


def as_tags(records: Iterable[StepRecord]) -> dict[str, str]:
    """The tags of several steps."""
    return {name: value for record in records for name, value in record.as_tag().items()}


def ended_steps(tags: Mapping[str, str], run_status: str) -> list[StepRecord]:
    """The records that the steps of a job that has ended could not write themselves.

    Args:
        tags: the tags of its run, with the failed nodes.
        run_status: the MLflow run status that it gets.
    """
    failed_nodes = tags.get(names.FAILED_NODE_TAG, "").split(", ")
    records = []
    for record in step_records(tags):
        if record.state == State.RUNNING:  # it was killed
            state = State.FAILED if record.node in failed_nodes else State.CANCELLED
            records.append(replace(record, state=state, error=tags.get(names.ERROR_TAG, "")))
        elif origin := tags.get(names.REUSED_TAG + record.task):
            records.append(replace(record, state=State.SKIPPED, origin=origin))
        elif record.state == State.PENDING:  # in a job that succeeds, a step without a word was taken from the cache
            records.append(replace(record, state=State.SKIPPED if run_status == "FINISHED" else State.NOT_TRIGGERED))
    return records


def planned_steps(spec: Spec) -> list[StepRecord]:
    """The steps of a spec, before any of them has begun; empty for an empty spec."""
    if not spec:
        return []
    steps = [task for task in tasks(spec) if task.container and names.is_step(task.name)]
    return [
        StepRecord(
            task=step.name,
            number=number,
            nodes=", ".join(StepArguments.of(step.container.get("args", [])).nodes),
            machine=machine_of(step.container),
        )
        for number, step in enumerate(steps)
    ]


def reused_steps(tags: Mapping[str, str]) -> list[StepRecord]:
    """The steps of an earlier job that a job takes instead of having them in its spec."""
    origins = {name.removeprefix(names.REUSED_TAG): tags[name] for name in tags if name.startswith(names.REUSED_TAG)}
    return [StepRecord(task, number=-1, state=State.SKIPPED, origin=origin) for task, origin in origins.items()]


def utc(seconds: float) -> str:
    """A moment, in seconds since 1970, as records have it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
