"""The description of a job's MLflow run, made of its tags, and what else the run keeps beside what the project logs."""

import hashlib
import json
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier

import mlflow
import numpy as np
import pytest
from hostile_text import HOSTILE, is_safe
from markdown_it import MarkdownIt

from vertexai_mlflow.contract import names
from vertexai_mlflow.contract.arguments import compressed
from vertexai_mlflow.contract.custom_job import machine_of
from vertexai_mlflow.contract.job import State
from vertexai_mlflow.contract.names import START_TASK
from vertexai_mlflow.contract.spec import packed, unpacked, with_arguments
from vertexai_mlflow.step.printed_text import PrintedText, printed_text
from vertexai_mlflow.tracking import write_tags
from vertexai_mlflow.tracking.description import describe, update_description
from vertexai_mlflow.tracking.files import as_yaml, is_hidden
from vertexai_mlflow.tracking.steps import StepRecord, as_tags, ended_steps, planned_steps, step_records

CONSOLE = "https://console.cloud.google.com/vertex-ai/locations/europe-west1/pipelines/runs/demo-1?project=p"
JOB = {
    "vertexai_job_name": "demo-1",
    "vertexai_job_url": CONSOLE,
    "vertexai_pipeline": "__default__; from nodes tidy",
    "vertexai_env": "cloud",
    names.COMMAND_TAG: "kedro vertexai -e cloud run-once --params a=1",
}
DONE = StepRecord("clean", 0, "clean", "1 CPU, 3G", "SUCCEEDED", "2026-11-29T10:05:33+00:00", 12.3, 1)
RUNNING = StepRecord("train-forest", 1, "split, train_forest", state="RUNNING", attempts=2, node="train_forest")
PENDING = StepRecord("plot", 2, "plot")


def test_a_running_job_is_described_by_what_runs_and_where_to_look():
    tags = JOB | as_tags([PENDING, RUNNING, DONE]) | {
        "mlflow.source.git.commit": "0123456789abcdef",
        "mlflow.source.git.repoURL": "https://github.com/o/r",
        "vertexai_image": "r/demo@sha256:1f",
        "vertexai_schedule": "nightly",
        "resumed_from": "demo-0",
        "resumed_from_run": "abc",
    }  # fmt: skip
    assert describe(tags).splitlines() == [
        "**RUNNING** · pipeline `__default__; from nodes tidy` · environment `cloud` · schedule `nightly`",
        "",
        f"[Vertex AI job demo-1]({CONSOLE}) · [commit 0123456789](https://github.com/o/r/commit/0123456789abcdef) · "
        "image `r/demo@sha256:1f` · resumes demo-0, MLflow run `abc`",
        "",
        "Launched by `kedro vertexai -e cloud run-once --params a=1`",
        "",
        "| step | state | started (UTC) | seconds | attempts | machine | node |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| clean | SUCCEEDED | 2026-11-29 10:05:33 | 12.3 | 1 | 1 CPU, 3G | clean |",
        "| train-forest | RUNNING |  |  | 2 |  | split, train_forest (at train_forest) |",
        "| plot | PENDING |  |  |  |  | plot |",
    ]


@pytest.mark.parametrize(
    ("changes", "command"),
    [
        ({}, "kedro vertexai -e cloud resume demo-1"),
        ({"vertexai_code": "gs://b/code"}, "kedro vertexai -e cloud resume demo-1 --upload-code"),
        ({"vertexai_job_url": "file:///jobs/demo-1", "vertexai_env": ""}, "kedro vertexai run-local --resume demo-1"),
    ],
)
def test_a_failed_job_says_first_what_failed_why_and_how_to_go_on(changes, command):
    failure = {"failed_node": "train_forest", "error": "ValueError: token=abc of <b>x</b>"}
    lines = describe(JOB | failure | changes, "FAILED").splitlines()
    assert lines[0].startswith("**FAILED** · pipeline")
    assert lines[2] == r"Node **train_forest** failed: ValueError: token=\*\*\* of \<b\>x\</b\>"
    assert lines[4] == f"To go on from there: `{command}`"


def structure(text: str) -> Counter[str]:
    """What the description of a job consists of in whose names, node and error this text stands."""
    record = StepRecord("s", 0, text, text, "FAILED", node=text, error=text)
    tags = JOB | {"error": text, "failed_node": text, "vertexai_pipeline": text, "resumed_from": text} | record.as_tag()
    page = describe(tags, "FAILED")
    assert is_safe(page)
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = [token for block in parser.parse(page) for token in (block.children or [block])]
    return Counter(token.type for token in tokens if not token.type.startswith(("text", "softbreak")))


@pytest.mark.parametrize("text", [text for text in HOSTILE.values() if text.strip()])
def test_nothing_in_a_description_is_obeyed(text):
    assert structure(text) == structure("harmless")


def test_of_a_thousand_steps_those_that_matter_are_shown_and_the_others_counted():
    records = [StepRecord(f"forecast-{number}", number, f"forecast_{number}") for number in range(1000)]
    records[700] = StepRecord("forecast-700", 700, "forecast_700", state="FAILED", error="ValueError: x")
    records[900] = StepRecord("forecast-900", 900, "forecast_900", state="RUNNING", node="forecast_900")
    text = describe(JOB | as_tags(records))
    assert len(text) <= 7500
    assert "| forecast-700 | **FAILED** ValueError: x |" in text
    assert "| forecast-900 | RUNNING |" in text
    shown = text.count("| forecast-")
    assert f"… and {1000 - shown} PENDING. All steps: artifact `vertexai/job.html`." in text


def test_a_tag_that_somebody_else_has_written_is_a_step_of_which_nothing_is_known():
    assert step_records({f"{names.STEP_TAG}a": "not JSON", f"{names.STEP_TAG}b": '{"unknown": 1}'}) == [
        StepRecord("a"),
        StepRecord("b"),
    ]


def test_a_long_error_fits_into_the_tag_of_its_step():
    ((_name, value),) = StepRecord("a", nodes="n" * 9000, error="e" * 9000).as_tag().items()
    assert len(value) < 5000


@pytest.mark.parametrize(
    ("status", "tags", "states"),
    [
        ("FINISHED", {}, {"clean": "SUCCEEDED", "train-forest": "CANCELLED", "plot": "SKIPPED"}),
        ("KILLED", {}, {"clean": "SUCCEEDED", "train-forest": "CANCELLED", "plot": "NOT_TRIGGERED"}),
        (
            "FAILED",
            {"failed_node": "other, train_forest", "error": "out of memory"},
            {"clean": "SUCCEEDED", "train-forest": "FAILED", "plot": "NOT_TRIGGERED"},
        ),
        ("FAILED", {"reused.plot": "demo-0"}, {"clean": "SUCCEEDED", "train-forest": "CANCELLED", "plot": "SKIPPED"}),
    ],
)
def test_the_last_task_ends_the_records_of_steps_that_could_not(status, tags, states):
    all_tags = as_tags([DONE, RUNNING, PENDING]) | tags
    ended = all_tags | as_tags(ended_steps(all_tags, status))
    assert {record.task: record.state for record in step_records(ended)} == states


def test_a_machine_is_named_as_it_was_asked_for():
    resources = {"resourceCpuLimit": "4", "resourceMemoryLimit": "16G"}
    accelerator = {"resourceType": "NVIDIA_L4", "resourceCount": "1"}
    assert machine_of({"resources": {**resources, "accelerator": accelerator}}) == "4 CPU, 16G, 1 × NVIDIA_L4"
    assert machine_of({}) == ""


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Iterator[str]:
    """A real store of MLflow."""
    folder = tmp_path_factory.mktemp("store")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield mlflow.create_experiment("demo", artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_of_two_steps_that_end_at_the_same_moment_none_is_lost(store):
    """Forty times. Each writes its own tag, and then the description with what it finds."""
    client = mlflow.MlflowClient()
    for _ in range(40):
        steps = [StepRecord(name, number, state="RUNNING") for number, name in enumerate(("a", "b"))]
        run_id = client.create_run(store, tags=JOB | as_tags(steps) | {"mlflow.note.content": ""}).info.run_id
        barrier = Barrier(2)

        def end(step: StepRecord, run_id: str = run_id, barrier: Barrier = barrier) -> None:
            ((name, value),) = StepRecord(step.task, step.number, state="SUCCEEDED").as_tag().items()
            barrier.wait()
            client.set_tag(run_id, name, value)
            update_description(run_id)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(end, steps))
        text = client.get_run(run_id).data.tags["mlflow.note.content"]
        assert (text.count("SUCCEEDED"), text.count("| RUNNING")) == (2, 0)


@pytest.mark.slow
def test_a_step_that_is_too_late_does_not_change_the_last_word(store):
    client = mlflow.MlflowClient()
    run_id = client.create_run(store, tags=JOB | {"mlflow.note.content": "the end"}).info.run_id
    client.set_terminated(run_id)
    update_description(run_id)
    assert client.get_run(run_id).data.tags["mlflow.note.content"] == "the end"


@pytest.mark.slow
def test_a_description_that_cannot_be_written_is_a_warning(store, caplog):
    with caplog.at_level(logging.WARNING):
        update_description("0" * 32)
    assert "The description of the MLflow run could not be written" in caplog.text


def test_what_a_step_prints_and_logs_is_kept_and_printed_all_the_same(capsys, monkeypatch):
    logger = logging.getLogger("demo.nodes")
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "propagate", False)
    stream = handler.stream
    with printed_text() as text:
        print("printed")
        logger.warning("logged")
    print("later")
    logger.removeHandler(handler)
    assert str(text) == "printed\nlogged\n"
    assert capsys.readouterr() == ("printed\nlater\n", "logged\n")
    assert handler.stream is stream


def test_of_a_long_log_the_end_is_kept():
    text = PrintedText(limit=10)
    for part in ("0123456789abc", "def", "", "gh", "i"):
        text.add(part)
    assert str(text) == "9abcdefghi"


def test_parameters_are_kept_without_secrets_and_whatever_their_type():
    parameters = {
        "a": {"b": (1, 2.5)},
        "path": Path("data"),
        "api_token": "x",
        "tokens": 3,
        "keys": {"password": ["y"]},
        "half": np.float64(0.5),
        "state": State.FAILED,
        "is_on": True,
        "day": date(2026, 11, 29),
        "none": None,
    }
    assert as_yaml(parameters) == (
        "a:\n  b:\n  - 1\n  - 2.5\npath: data\napi_token: '***'\ntokens: 3\nkeys:\n  password:\n  - '***'\n"
        "half: 0.5\nstate: FAILED\nis_on: true\nday: '2026-11-29'\nnone: null\n"
    )


def test_what_a_resolver_of_secrets_returns_is_on_no_page():
    assert as_yaml({"a": {"b": "x", "c": 1}, "d.e": "y"}, ["a.b", "d.e"]) == "a:\n  b: '***'\n  c: 1\nd.e: '***'\n"
    names = ["a.b", "a.b.c", "parameters.a.b", "parameters", "a.bc", "a"]
    assert [is_hidden(name, ["a.b"]) for name in names] == [True, True, True, True, False, False]
    assert not is_hidden("parameters", [])


def test_a_spec_travels_in_an_argument_unless_it_is_too_long():
    spec = {"components": {f"comp-{number}": {"name": "ö"} for number in range(1000)}}
    assert unpacked(packed(spec)) == spec
    assert len(packed(spec)) < 20_000
    assert packed({"random": [hash((number, "x")) for number in range(30_000)]}) == ""
    assert unpacked("") == {}


def test_of_a_spec_that_is_too_long_steps_and_machines_travel():
    def container(number: int) -> dict:
        digest = hashlib.sha512(str(number).encode()).hexdigest()
        args = [f"--task=s-{number}", f'--nodes=["s_{number}"]', f"--fingerprint={digest}{digest[::-1]}"]
        return {"container": {"image": "x", "args": args, "resources": {"cpuLimit": 2.0, "resourceCpuLimit": "2"}}}

    steps = [f"s-{number}" for number in range(1000)]
    spec = {
        "pipelineInfo": {"name": "demo"},
        "root": {"dag": {"tasks": {name: {"componentRef": {"name": name}} for name in steps}}},
        "components": {name: {"executorLabel": name} for name in steps},
        "deploymentSpec": {"executors": {name: container(number) for number, name in enumerate(steps)}},
    }
    short = unpacked(packed(spec))
    assert len(compressed(json.dumps(spec))) > 127 * 1024
    assert short["pipelineInfo"] == spec["pipelineInfo"]
    assert planned_steps(short) == planned_steps(spec)
    assert planned_steps(spec)[999].machine == "2 CPU"


def test_what_was_typed_is_no_placeholder():
    task = {"componentRef": {"name": "comp"}, "taskInfo": {"name": START_TASK}}
    spec = {
        "root": {"dag": {"tasks": {START_TASK: task}}},
        "components": {"comp": {"executorLabel": "exec"}},
        "deploymentSpec": {"executors": {"exec": {"container": {"args": ["--task=x", "--command=old"]}}}},
    }
    changed = with_arguments(spec, {"command": "kedro --params a={{$.pipeline_job_name}}", "schedule": ""})
    (executor,) = changed["deploymentSpec"]["executors"].values()
    assert executor["container"]["args"] == ["--task=x", "--command=kedro --params a={{ $.pipeline_job_name}}"]


@pytest.mark.slow
def test_more_tags_than_one_request_takes_are_written(store):
    run_id = mlflow.MlflowClient().create_run(store).info.run_id
    tags = {f"reused.step-{number}": "demo-0" for number in range(250)}
    write_tags(run_id, tags)
    assert tags.items() <= mlflow.get_run(run_id).data.tags.items()
