"""Parts of a step that need no pipeline: its timeout, its host aliases, and the metadata of its artifacts."""

import hashlib
import http.server
import json
import sys
import threading
import time
import urllib.request
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Node, Pipeline
from kedro.validation.exceptions import DataValidationError
from kedro_datasets.pickle import PickleDataset
from running import run as run_command

from vertexai_mlflow.step.artifact import ArtifactDataset
from vertexai_mlflow.step.io import StepIO
from vertexai_mlflow.step.lineage import Lineage, numbers_of, shape_of, within_limit
from vertexai_mlflow.step.process import StepTimeout, alias, deadline
from vertexai_mlflow.step.runner import StepRunner


def test_a_step_that_ends_in_time_is_not_stopped():
    with deadline(1):
        time.sleep(0.01)
    time.sleep(1.1)


def test_a_step_that_takes_too_long_is_stopped_and_its_error_names_the_timeout():
    started = time.monotonic()
    with pytest.raises(StepTimeout, match="longer than its timeout of 1 s"), deadline(1):
        time.sleep(30)
    assert time.monotonic() - started < 5


@pytest.mark.slow
def test_a_step_ends_at_the_line_of_settings_that_its_image_cannot_import(bake):
    """On the laptop it may have been in order. With its defaults, Kedro would run the nodes without the project's hooks."""
    project = bake()
    settings = project / "src/test_project/settings.py"
    lines = len(settings.read_text().splitlines())
    settings.write_text(f"{settings.read_text()}from nowhere import Hooks\n")
    argv = ["--task=clean", "--pipeline=__default__", '--nodes=["clean"]', "--executor-input={}"]
    job = ["--job-name=j", "--job-id=1", "--job-resource-name=r", "--job-created=2026-01-01T00:00:00Z"]
    done = run_command(sys.executable, "-m", "vertexai_mlflow.step", *argv, *job, cwd=project, PYTHONPATH="src")
    assert done.returncode == 1
    assert f'src/test_project/settings.py", line {lines + 1}' in done.stderr
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'nowhere'\n")


def test_a_host_is_reached_by_its_alias(monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", __import__("socket").getaddrinfo)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    alias({"mlflow.internal": "127.0.0.1"})
    request = urllib.request.Request(f"http://mlflow.internal:{server.server_port}/", method="HEAD")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert opener.open(request, timeout=5).status == 200
    server.server_close()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pd.DataFrame({"a": [1, 2, 3], "b": 0}), {"rows": 3, "columns": 2}),
        (np.zeros(7), {"rows": 7}),
        ({"accuracy": 0.9}, {}),
        ("text", {}),
    ],
)
def test_lineage_has_the_shape_of_tables(data, message):
    assert shape_of(data) == message


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"accuracy": 0.9, "note": "good", "ok": True}, {"accuracy": 0.9}),
        ({"f1": {"value": 1, "step": 0}, "loss": [{"value": 3.0, "step": 0}, {"value": 2.0, "step": 1}]}, {"f1": 1.0, "loss": 2.0}),
        (0.5, {"value": 0.5}),
    ],
)  # fmt: skip
def test_lineage_has_the_numbers_of_metrics(metrics, message):
    assert numbers_of(metrics) == message


def test_numbers_that_json_cannot_write_are_left_out_of_lineage_and_said(caplog):
    metadata = {"r2": float("nan"), "loss": float("inf"), "f1": 1.0, "nested": {"deep": [float("-inf")]}}
    assert within_limit(metadata) == {"f1": 1.0}
    for name, value in (("r2", "nan"), ("loss", "inf"), ("nested", "{'deep': [-inf]}")):
        assert f"Vertex AI's lineage does not get '{name}': {value}, because JSON cannot write it." in caplog.text


def test_metadata_never_exceeds_its_limit():
    many = {f"word_{number:06d}": number for number in range(10_000)}
    kept = within_limit(many)
    assert 0 < len(kept) < 200
    assert len(json.dumps(kept)) <= 2048


def test_numbers_that_are_not_metrics_stay_out_of_the_metadata(tmp_path):
    artifacts = {"vocabulary": ArtifactDataset(f"{tmp_path}/vocabulary")}
    told = {"vocabulary": {"key": "data_vocabulary", "uri": None, "metadata": {}, "numbers": False}}
    lineage = Lineage(told, artifacts)
    run(
        Node(lambda: {str(number): number for number in range(10_000)}, None, "vocabulary", name="n"),
        artifacts,
        lineage,
    )
    outputs = {"data_vocabulary": {"name": "data_vocabulary", "uri": f"{tmp_path}/vocabulary"}}
    (artifact,) = lineage.executor_output(outputs)["data_vocabulary"]["artifacts"]
    file = tmp_path / "vocabulary"
    assert artifact["metadata"] == {"sha256": sha256(file), "bytes": file.stat().st_size}


def test_only_an_artifact_that_the_step_makes_needs_no_recorded_hash():
    recorded = {
        "uri": "gs://b/in",
        "metadata": {"sha256": "1", "step": "clean", "job": "job-1", "model_uri": "models:/m"},
    }
    sides = {
        "inputs": {"recorded": recorded, "bare": {"uri": "gs://b/bare"}},
        "outputs": {"made": {"uri": "gs://b/made"}},
    }
    io = StepIO(
        {
            side: {"artifacts": {key: {"artifacts": [item]} for key, item in items.items()}}
            for side, items in sides.items()
        }
    )
    assert [io.sha256(key) for key in ("recorded", "bare", "made")] == ["1", "", None]
    assert [io.uri(key) for key in ("recorded", "made")] == ["gs://b/in", "gs://b/made"]
    assert [io.model_uri(key) for key in ("recorded", "made")] == ["models:/m", ""]
    assert (io.steps_of_other_jobs("job-1"), io.steps_of_other_jobs("job-2")) == ({}, {"clean": "job-1"})


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def run(node: Node, artifacts: dict[str, ArtifactDataset], *hooks: object) -> None:
    from kedro.framework.hooks.manager import _create_hook_manager

    StepRunner(artifacts, hooks=hooks).run(Pipeline([node]), DataCatalog(), _create_hook_manager())


def test_the_executor_output_describes_every_artifact_of_the_step(tmp_path):
    artifacts = {"table": ArtifactDataset(f"{tmp_path}/table")}
    told = {
        "table": {"key": "data_table", "uri": None, "metadata": {"owner": "me"}, "numbers": False},
        "kept": {"key": "data_kept", "uri": "gs://b/kept", "metadata": {}, "numbers": True},
    }
    lineage = Lineage(told, artifacts)
    run(Node(lambda: (pd.DataFrame({"a": [1]}), 1.5), None, ["table", "kept"], name="n"), artifacts, lineage)
    outputs = {key: {"name": key, "uri": f"{tmp_path}/{key}"} for key in ("data_table", "data_kept")}
    output = lineage.executor_output(outputs)
    (table,) = output["data_table"]["artifacts"]
    assert table["uri"] == f"{tmp_path}/data_table"
    file = tmp_path / "table"
    size = file.stat().st_size
    assert table["metadata"] == {"sha256": sha256(file), "bytes": size, "owner": "me", "rows": 1, "columns": 1}
    assert output["data_kept"]["artifacts"] == [{"name": "data_kept", "uri": "gs://b/kept", "metadata": {"value": 1.5}}]


def test_no_metadata_however_long_displaces_or_replaces_the_hash(tmp_path):
    dataset = ArtifactDataset(f"{tmp_path}/x")
    metadata = {"sha256": "0" * 64, "bytes": 1, **{f"word_{number}": "x" * 50 for number in range(100)}}
    lineage = Lineage({"x": {"key": "data_x", "uri": None, "metadata": metadata, "numbers": True}}, {"x": dataset})
    run(Node(lambda: {"sha256": 1.0}, None, "x", name="n"), {"x": dataset}, lineage)
    output = lineage.executor_output({"data_x": {"name": "data_x", "uri": f"{tmp_path}/x"}})
    (artifact,) = output["data_x"]["artifacts"]
    assert artifact["metadata"]["sha256"] == sha256(tmp_path / "x")
    assert len(json.dumps(artifact["metadata"])) <= 2048


def checked(data: object) -> object:
    if data != "good":
        raise ValueError("not good")
    return data


class Checked:
    """A validator."""

    validate = staticmethod(checked)


CHECKED = {"type": "MemoryDataset", "validator": f"{__name__}.Checked"}


@pytest.mark.parametrize("entries", [{"made": CHECKED}, {"{any}": CHECKED}])
def test_the_validator_of_a_dataset_that_travels_fails_the_step(tmp_path, entries):
    from kedro.framework.hooks.manager import _create_hook_manager

    for value, passes in (("good", True), ("bad", False)):
        catalog = DataCatalog.from_config(entries)
        runner = StepRunner({"made": ArtifactDataset(f"{tmp_path}/made")})
        pipeline = Pipeline([Node(lambda value=value: value, None, "made", name="n")])
        with nullcontext() if passes else pytest.raises(DataValidationError, match="not good"):
            runner.run(pipeline, catalog, _create_hook_manager())


def test_a_place_that_only_a_hook_has_given_a_dataset_is_refused_before_its_node_runs(tmp_path):
    from kedro.framework.hooks.manager import _create_hook_manager

    catalog = DataCatalog({"made": PickleDataset(filepath=f"{tmp_path}/made.pkl")})
    runner = StepRunner({"made": ArtifactDataset(f"{tmp_path}/made")})
    pipeline = Pipeline([Node(lambda: pytest.fail("the node has run"), None, "made", name="n")])
    with pytest.raises(DatasetError, match=r"'made' was registered only by a hook \(PickleDataset\)"):
        runner.run(pipeline, catalog, _create_hook_manager())


def test_what_kedro_says_about_every_step_is_not_in_its_log_and_all_else_is(tmp_path, caplog):
    def fail(data):
        raise ValueError(data)

    caplog.set_level("INFO")
    catalog = DataCatalog()
    catalog["y"] = 1
    catalog["y"] = 2
    artifact = ArtifactDataset(str(tmp_path / "z"))
    with pytest.raises(ValueError, match="2"):
        StepRunner({"z": artifact}).run(Pipeline([Node(fail, "y", "z", name="fail")]), catalog)
    assert "Replacing" not in caplog.text
    assert "synchronous mode" not in caplog.text
    assert "Repeat the previous command" not in caplog.text
    assert "Loading data from y" in caplog.text
    assert "failed with error" in caplog.text


def test_a_value_that_cannot_be_serialised_is_named_with_node_and_dataset(tmp_path):
    artifacts = {"lock": ArtifactDataset(f"{tmp_path}/lock")}
    with pytest.raises(DatasetError) as error:
        run(Node(threading.Lock, None, "lock", name="make_lock"), artifacts)
    message = str(error.value)
    assert message.startswith("Node 'make_lock' made dataset 'lock', a lock, which cannot be written as an artifact.")
    assert "cannot pickle" in message
    assert list(tmp_path.iterdir()) == []
