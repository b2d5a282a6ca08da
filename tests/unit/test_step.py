"""Pieces of a step that need no pipeline: its timeout, its host names, what it says of what it made."""

import http.server
import threading
import time
import urllib.request

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Node, Pipeline
from starter.vertexai import hosts
from starter.vertexai.artifact import ArtifactDataset
from starter.vertexai.deadline import StepTimeout, deadline
from starter.vertexai.lineage import Lineage, describe
from starter.vertexai.runner import StepRunner


def test_a_step_that_is_in_time_is_left_alone():
    with deadline(1):
        time.sleep(0.01)
    time.sleep(1.1)


def test_a_step_that_takes_too_long_is_stopped_with_a_sentence():
    started = time.monotonic()
    with pytest.raises(StepTimeout, match="longer than its timeout of 1 s"), deadline(1):
        time.sleep(30)
    assert time.monotonic() - started < 5


def test_an_aliased_host_is_found(monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", __import__("socket").getaddrinfo)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.handle_request, daemon=True).start()
    hosts.alias({"mlflow.internal": "127.0.0.1"})
    request = urllib.request.Request(f"http://mlflow.internal:{server.server_port}/", method="HEAD")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    assert opener.open(request, timeout=5).status == 200
    server.server_close()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pd.DataFrame({"a": [1, 2, 3], "b": 0}), {"rows": 3, "columns": 2}),
        (np.zeros(7), {"rows": 7}),
        ({"accuracy": 0.9, "note": "good", "ok": True}, {"accuracy": 0.9}),
        ({"f1": {"value": 1, "step": 0}, "loss": [{"value": 3.0, "step": 0}, {"value": 2.0, "step": 1}]}, {"f1": 1.0, "loss": 2.0}),
        (0.5, {"value": 0.5}),
        ("text", {}),
    ],
)  # fmt: skip
def test_lineage_describes_tables_and_metrics(data, said):
    assert describe(data) == said


def run(node: Node, artifacts: dict[str, ArtifactDataset], *hooks: object) -> None:
    from kedro.framework.hooks.manager import _create_hook_manager

    StepRunner(artifacts, hooks).run(Pipeline([node]), DataCatalog(), _create_hook_manager())


def test_what_was_made_is_in_the_executor_output(tmp_path):
    artifacts = {"table": ArtifactDataset(f"{tmp_path}/table")}
    told = {
        "table": {"key": "data_table", "uri": None, "metadata": {"owner": "me"}},
        "kept": {"key": "data_kept", "uri": "gs://b/kept", "metadata": {}},
    }
    lineage = Lineage(told, artifacts)
    run(Node(lambda: (pd.DataFrame({"a": [1]}), 1.5), None, ["table", "kept"], name="n"), artifacts, lineage)
    given = {key: {"artifacts": [{"name": key, "uri": f"{tmp_path}/{key}"}]} for key in ("data_table", "data_kept")}
    output = lineage.executor_output(given)
    (table,) = output["data_table"]["artifacts"]
    assert table["uri"] == f"{tmp_path}/data_table"
    assert table["metadata"] == {"owner": "me", "rows": 1, "columns": 1, "bytes": (tmp_path / "table").stat().st_size}
    assert output["data_kept"]["artifacts"] == [{"name": "data_kept", "uri": "gs://b/kept", "metadata": {"value": 1.5}}]


def test_a_value_that_cannot_be_serialised_is_named_with_node_and_dataset(tmp_path):
    artifacts = {"lock": ArtifactDataset(f"{tmp_path}/lock")}
    with pytest.raises(DatasetError) as error:
        run(Node(threading.Lock, None, "lock", name="make_lock"), artifacts)
    said = str(error.value)
    assert said.startswith("Node 'make_lock' made dataset 'lock', a lock, which cannot be written as an artifact.")
    assert "cannot pickle" in said
    assert list(tmp_path.iterdir()) == []
