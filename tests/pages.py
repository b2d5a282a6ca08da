"""Jobs for pages: the spec of steps that wait for each other, and what has become of each of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from vertexai_mlflow.contract.arguments import JobArguments, StepArguments, TaskArguments
from vertexai_mlflow.contract.job import ENDED, PipelineJob, State, TaskRun
from vertexai_mlflow.contract.names import FINISH_TASK, START_TASK

BEGIN = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)


def spec(upstream: Mapping[str, Sequence[str]], about: JobArguments | None = None) -> dict[str, Any]:
    """The spec of a pipeline with these steps, as ``compile`` writes it, as far as a page looks at it.

    Args:
        upstream: step → the steps that it waits for.
        about: what the first task is told.
    """
    arguments: dict[str, TaskArguments] = {
        name: StepArguments(name, "__default__", nodes=[name.replace("-", "_")]) for name in upstream
    }
    arguments[START_TASK] = about or JobArguments(START_TASK, "__default__", image="demo:latest")
    arguments[FINISH_TASK] = JobArguments(FINISH_TASK, "__default__")
    executors = {name: {"container": {"image": "demo:latest", "args": told.argv()}} for name, told in arguments.items()}
    before = {
        START_TASK: [],
        **{name: [START_TASK, *names] for name, names in upstream.items()},
        FINISH_TASK: [*upstream],
    }
    return {
        "pipelineInfo": {"name": "demo"},
        "deploymentSpec": {"executors": executors},
        "components": {name: {"executorLabel": name} for name in arguments},
        "root": {
            "dag": {
                "tasks": {
                    name: {"componentRef": {"name": name}, "taskInfo": {"name": name}, "dependentTasks": names}
                    for name, names in before.items()
                }
            },
            "inputDefinitions": {"parameters": {"params": {"defaultValue": {}}}},
        },
    }


def job(
    upstream: Mapping[str, Sequence[str]],
    states: Mapping[str, str] | None = None,
    state: str = State.SUCCEEDED,
    about: JobArguments | None = None,
) -> PipelineJob:
    """A job of these steps. Each has waited for a second and run for two, then those that wait for it could begin.

    Args:
        upstream: step → the steps that it waits for.
        states: step → its state; the others have succeeded.
        state: the job's state.
        about: what its first task was told.
    """
    states, ends, runs = states or {}, {}, {}
    for name, names in {START_TASK: (), **{key: (START_TASK, *value) for key, value in upstream.items()}}.items():
        created = max([ends[other] for other in names], default=0.0)
        ends[name] = created + 3 + len(name) % 4
        runs[name] = run(name, states.get(name, State.SUCCEEDED), created, ends[name])
    if state in ENDED:
        last = max(ends.values())
        runs[FINISH_TASK] = run(FINISH_TASK, State.SUCCEEDED, last, last + 2)
    end = max((task.ended for task in runs.values() if task.ended), default=BEGIN)
    return PipelineJob(
        "demo-20261129100000-1a2b", "file:///tmp/demo/.vertexai/demo-20261129100000-1a2b", state, runs,
        created=BEGIN, started=BEGIN, ended=end if state in ENDED else None, spec=spec(upstream, about),
    )  # fmt: skip


def run(name: str, state: str, created: float, ended: float) -> TaskRun:
    if state in (State.NOT_TRIGGERED, State.PENDING):
        return TaskRun(name, "", state)
    moments = [BEGIN + timedelta(seconds=seconds) for seconds in (created, created + 1, ended)]
    has_ended, has_run = state in ENDED, state != State.SKIPPED
    return TaskRun(
        name, "", state, attempt=int(has_run), seconds=ended - created - 1 if has_ended and has_run else 0.0,
        created=moments[0], started=moments[1] if has_run else None, ended=moments[2] if has_ended else None,
        attempts=(moments[1],) if has_run else (), origin="demo-20261128100000-9f8e" if not has_run else "",
        error="exit code 1" if state == State.FAILED else "",
    )  # fmt: skip


def layered(steps: int, width: int) -> dict[str, list[str]]:
    """As many steps, so many in each layer, each of which waits for two of the layer above."""
    names = [f"step-number-{number:04}" for number in range(steps)]
    above = {number: number - number % width - width for number in range(steps)}
    return {
        name: sorted({names[above[number] + (number + shift) % width] for shift in (0, 1)}) if number >= width else []
        for number, name in enumerate(names)
    }
