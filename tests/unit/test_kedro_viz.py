"""The file that Kedro-Viz's view Workflow reads; which fields that are, kedro_viz/api/rest/responses/run_events.py says."""

import hashlib
from dataclasses import replace

import pages
import pytest
from kedro.pipeline import Node, Pipeline
from test_plan import same

from vertexai_mlflow.contract.job import MlflowRun, State
from vertexai_mlflow.show.kedro_viz import as_events

NODES = Pipeline(
    [
        Node(same, ["raw@csv", "params:a"], "clean_data", name="clean"),
        Node(same, "clean_data", "parts", name="split"),
        Node(same, "parts", "model", name="train_forest"),
    ]
).nodes
STEPS = {"clean": [], "split": ["clean"], "train-forest": ["split"]}


def digest(text: str) -> str:
    """How Kedro-Viz names what it shows."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:8]


def named(events, name):
    return [event for event in events if event["event"] == name]


def test_a_finished_job_is_a_run_of_all_its_nodes():
    job = pages.job(STEPS)
    events = as_events(job, NODES, None, {})
    assert [event["event"] for event in (events[0], events[-1])] == ["before_pipeline_run", "after_pipeline_run"]
    assert (events[0]["timestamp"], events[-1]["timestamp"]) == (job.started.isoformat(), job.ended.isoformat())
    ran = named(events, "after_node_run")
    assert [event["node"] for event in ran] == ["clean", "split", "train_forest"]
    assert [event["node_id"] for event in ran] == [digest(str(node)) for node in NODES]
    assert [event["duration"] for event in ran] == [job.tasks[name].seconds for name in STEPS]
    assert {event["status"] for event in ran} == {"success"}
    loaded = {event["dataset"]: event["node_id"] for event in named(events, "after_dataset_loaded")}
    assert loaded == {"raw@csv": digest("raw"), "clean_data": digest("clean_data"), "parts": digest("parts")}
    assert {event["dataset"] for event in named(events, "after_dataset_saved")} == {"clean_data", "parts", "model"}


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (None, "exit code 1"),
        (MlflowRun("FAILED", "", "train_forest", "ValueError: too few"), "ValueError: too few"),
        (MlflowRun("FAILED", "", "another", "KeyError"), "exit code 1"),
    ],
)
def test_a_failed_node_has_its_error_and_the_end_of_its_log(run, error):
    job = pages.job(STEPS, {"train-forest": State.FAILED}, State.FAILED)
    events = as_events(job, NODES, run, {"train-forest": "the end\x1b[2J of the log"})
    (failure,) = named(events, "on_node_error")
    assert (failure["node"], failure["error"]) == ("train_forest", error)
    end = events[events.index(failure) - 1]
    assert (end["status"], end["duration"]) == ("failed", job.tasks["train-forest"].seconds)
    assert failure["traceback"] == "the end\\x1b[2J of the log"
    assert events[-1]["event"] == "on_pipeline_error"
    assert events[-1]["error"] == "train-forest: exit code 1"


def test_in_a_step_of_several_nodes_those_before_the_failed_one_have_run():
    job = pages.job({"clean": []}, {"clean": State.FAILED}, State.FAILED)
    container = job.spec["deploymentSpec"]["executors"]["clean"]["container"]
    container["args"] = [
        '--nodes=["clean", "split", "train_forest"]' if item.startswith("--nodes=") else item
        for item in container["args"]
    ]
    events = as_events(job, NODES, MlflowRun("FAILED", "", "split", "ValueError"), {})
    ends = [(event["node"], event["status"]) for event in named(events, "after_node_run")]
    assert ends == [("clean", "success"), ("split", "failed")]
    assert [event["node"] for event in named(events, "on_node_error")] == ["split"]
    assert len(named(as_events(job, NODES, None, {}), "on_node_error")) == 3


def test_a_running_job_has_no_end_and_a_step_that_was_taken_took_no_time():
    job = pages.job(STEPS, {"clean": State.SKIPPED, "train-forest": State.RUNNING}, State.RUNNING)
    events = as_events(job, NODES, None, {})
    assert [(event["node"], event["duration"] > 0) for event in named(events, "after_node_run")] == [
        ("clean", False), ("split", True),
    ]  # fmt: skip
    assert not {"after_pipeline_run", "on_pipeline_error"} & {event["event"] for event in events}


def test_the_size_of_a_dataset_is_that_of_its_artifact_and_a_node_that_is_gone_is_left_out():
    job = pages.job(STEPS)
    container = job.spec["deploymentSpec"]["executors"]["clean"]["container"]
    container["args"].insert(0, '--artifacts={"clean_data": "data_clean_data"}')
    made = {"artifacts": {"data_clean_data": {"uri": "u", "metadata": {"bytes": 17130.0}}}}
    job = replace(job, tasks={**job.tasks, "clean": replace(job.tasks["clean"], outputs=made)})
    events = as_events(job, NODES[:1], None, {})
    assert [event["node"] for event in named(events, "after_node_run")] == ["clean"]
    (saved,) = named(events, "after_dataset_saved")
    assert saved["size"] == 17130
