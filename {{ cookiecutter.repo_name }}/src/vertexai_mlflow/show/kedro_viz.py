"""A job → the events of a run as Kedro-Viz's hook writes them, which its view Workflow shows: states, times, errors.

The hook knows only runs in one process. Its file is read by ``kedro_viz/api/rest/responses/run_events.py``; a node is
found by a hash of the text of its Kedro node, a dataset by one of its name.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kedro.pipeline.node import Node

from ..compile.resume import step_arguments_of
from ..contract.arguments import StepArguments
from ..contract.job import MlflowRun, PipelineJob, State, TaskRun
from ..errors import shown

FILE = ".viz/kedro_pipeline_events.json"

Event = dict[str, Any]


def as_events(
    job: PipelineJob, nodes: Iterable[Node], mlflow_run: MlflowRun | None, tails: Mapping[str, str]
) -> list[Event]:
    """The events.

    Args:
        job: the job with its spec.
        nodes: nodes of the project's pipelines. What the job has run and is not among them is left out.
        mlflow_run: its MLflow run, which tells what failed better than an exit code.
        tails: failed step → the last lines that it printed.
    """
    by_name = {node.name: node for node in nodes}
    start = job.started or job.created
    events: list[Event] = [{"event": "before_pipeline_run", "timestamp": _text(start)}]
    for name, arguments in step_arguments_of(job).items():
        run = job.tasks.get(name)
        members = [by_name[node] for node in arguments.nodes if node in by_name]
        if run and run.state in (State.SUCCEEDED, State.SKIPPED):
            for node in members:
                events += _success(node, run, arguments)
        elif run and run.state == State.FAILED:
            events += _failure(members, run, arguments, mlflow_run, tails.get(name, ""))
    if job.succeeded:
        events.append({"event": "after_pipeline_run", "timestamp": _text(job.ended)})
    elif job.has_ended:
        errors = [f"{task.name}: {task.error}" for task in job.failed_tasks]
        message = shown(job.error or "; ".join(errors) or f"The job has ended as {job.state}.")
        events.append({"event": "on_pipeline_error", "error": message, "timestamp": _text(job.ended), "traceback": ""})
    return events


def _success(node: Node, run: TaskRun, arguments: StepArguments) -> list[Event]:
    """What the hook would have seen of a node that has run."""
    loaded = [_dataset("after_dataset_loaded", name, run, arguments) for name in _data(node.inputs)]
    saved = [_dataset("after_dataset_saved", name, run, arguments) for name in _data(node.outputs)]
    return [*loaded, _end(node, run, arguments, "success"), *saved]


def _end(node: Node, run: TaskRun, arguments: StepArguments, status: str) -> Event:
    """The end of a node. Nodes of one step share its time."""
    seconds = run.seconds / max(1, len(arguments.nodes)) if run.state != State.SKIPPED else 0.0
    about = {"node": node.name, "node_id": _hash(str(node)), "duration": seconds, "status": status}
    return {"event": "after_node_run", **about}


def _failure(
    nodes: Sequence[Node], run: TaskRun, arguments: StepArguments, mlflow_run: MlflowRun | None, tail: str
) -> list[Event]:
    """The node that failed, and those of its step that ran before it; all of them where it is not known which."""
    names = [node.name for node in nodes]
    events: list[Event] = []
    guilty, error = list(nodes), run.error
    if mlflow_run and mlflow_run.failed_node in names:
        index = names.index(mlflow_run.failed_node)
        events = [event for node in nodes[:index] for event in _success(node, run, arguments)]
        guilty, error = [nodes[index]], mlflow_run.error or run.error
    for node in guilty:
        # The hook writes no duration of a node that fails, but Kedro-Viz shows one.
        events.append(_end(node, run, arguments, "failed"))
        about = {"node": node.name, "node_id": _hash(str(node)), "error": shown(error), "timestamp": _text(run.ended)}
        events.append({"event": "on_node_error", **about, "traceback": shown(tail)})
    return events


def _data(names: Iterable[str]) -> list[str]:
    return [name for name in names if name != "parameters" and not name.startswith("params:")]


def _dataset(event: str, name: str, run: TaskRun, arguments: StepArguments) -> Event:
    outputs = (run.outputs or {}).get("artifacts", {})
    metadata = outputs.get(arguments.artifacts.get(name, ""), {}).get("metadata", {})
    size = {"size": int(metadata["bytes"])} if "bytes" in metadata else {}
    return {"event": event, "dataset": name, "node_id": _hash(name.split("@")[0]), "status": "Available", **size}


def _text(time: datetime | None) -> str:
    return (time or datetime.now(UTC)).isoformat()


def _hash(text: str) -> str:
    return hashlib.sha1(text.encode(errors="surrogatepass"), usedforsecurity=False).hexdigest()[:8]
