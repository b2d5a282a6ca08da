"""The main job as its user runs it: a generated project, its compiled spec, real processes, a real MLflow."""

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from pipeline_runs import only_run, runs, source, use_server, vertexai
from running import BIN, environment, run

from vertexai_mlflow.tracking.steps import step_records

pytestmark = pytest.mark.slow


class Statuses(threading.Thread):
    """Writes down every status that the runs of a project's sqlite store show, while something else goes on."""

    def __init__(self, project: Path) -> None:
        super().__init__(daemon=True)
        self._database = project / "mlflow.db"
        self._done = threading.Event()
        self.seen: list[str] = []

    def run(self) -> None:
        while not self._done.wait(0.02):
            try:
                with sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=5) as connection:
                    rows = connection.execute("select status from runs").fetchall()
            except sqlite3.OperationalError:  # not there yet
                continue
            for (status,) in rows:
                if self.seen[-1:] != [status]:
                    self.seen.append(status)

    def __enter__(self) -> "Statuses":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.1)
        self._done.set()
        self.join()


def test_one_run_on_a_server_follows_the_whole_pipeline(bake, mlflow_url):
    project = bake()
    use_server(project, mlflow_url)
    done = vertexai(project, "run-local", cold=True)
    assert done.returncode == 0, done.stdout + done.stderr

    mlflow_run = only_run(project, mlflow_url)
    (job,) = (project / ".vertexai").glob("[!.]*")
    assert mlflow_run.info.status == "FINISHED"
    tags = mlflow_run.data.tags
    assert tags["vertexai_job_name"] == job.name
    assert tags["vertexai_run_id"].isdigit()
    assert tags["vertexai_job_url"] == job.as_uri()
    assert tags["latest_node"] == "plot_confusion"
    assert not [
        name for name in tags if name.startswith(("failed_node", "error", "node_names", "runner", "project_path"))
    ]
    assert tags["kedro_command"] == "kedro vertexai run-local"
    assert tags["mlflow.source.name"] == "test-project"
    assert [(step.state, step.attempts) for step in step_records(tags)] == [("SUCCEEDED", 1)] * 6
    description = tags["mlflow.note.content"]
    assert description.startswith("**SUCCEEDED** · pipeline `__default__`")
    assert [line.split(" | ")[1] for line in description.splitlines()[-6:]] == ["SUCCEEDED"] * 6
    assert (
        mlflow_run.info.end_time - mlflow_run.info.start_time > sum(step.seconds for step in step_records(tags)) * 500
    )
    (dataset,) = mlflow_run.inputs.dataset_inputs
    csv = project / "data/01_raw/penguins.csv"
    assert (dataset.dataset.name, json.loads(dataset.dataset.source)) == (
        "raw_penguins",
        {"uri": "data/01_raw/penguins.csv"},
    )
    assert hashlib.sha256(csv.read_bytes()).hexdigest().startswith(dataset.dataset.digest)
    assert {tag.key: tag.value for tag in dataset.tags}["rows"] == "344"
    assert mlflow_run.data.params["forest.n_estimators"] == "100"
    assert mlflow_run.data.metrics["metrics.accuracy"] > 0.9
    client = mlflow.MlflowClient(mlflow_url)
    assert [item.path for item in client.list_artifacts(mlflow_run.info.run_id)] == ["confusion_matrix.png", "vertexai"]
    files = [item.path for item in client.list_artifacts(mlflow_run.info.run_id, "vertexai")]
    assert files == ["vertexai/job.html", "vertexai/parameters.yml", "vertexai/pipeline.json"]
    (model,) = client.search_logged_models([mlflow_run.info.experiment_id])
    assert (model.name, model.source_run_id) == ("model", mlflow_run.info.run_id)
    assert model.tags["vertexai_step"] == "choose-model"
    assert (
        f"{mlflow_url}/#/experiments/{mlflow_run.info.experiment_id}/runs/{mlflow_run.info.run_id}?workflowType=machine_learning"
        in done.stdout
    )
    assert f"The job's page: .vertexai/{job.name}/job.html" in done.stdout
    page = (job / "job.html").read_text()
    assert f"<title>{job.name}: succeeded</title>" in page
    assert "<th>forest.n_estimators<td><code>100</code>" in page
    assert f"<th>metrics.accuracy<td class=n>{mlflow_run.data.metrics['metrics.accuracy']:.6g}" in page
    assert '<img alt="confusion_matrix.png" src="data:image/png;base64,' in page
    assert (job / "mlflow-finish-run/run.json").exists()
    ended = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith("SUCCEEDED ")]
    assert (ended[0], ended[-1]) == (["SUCCEEDED", "mlflow-start-run"], ["SUCCEEDED", "mlflow-finish-run"])


def test_a_failing_branch_fails_the_run_once_and_is_named(bake):
    project = bake()
    with Statuses(project) as statuses:
        done = vertexai(project, "run-local", "--params", "forest.n_estimators=-1")
    assert done.returncode == 1
    assert "InvalidParameterError: The 'n_estimators' parameter" in done.stdout
    assert "Got -1 instead" in done.stdout
    assert re.search(r"NOT_TRIGGERED +choose-model", done.stdout)
    assert re.search(r"SUCCEEDED +train-linear", done.stdout)
    assert re.search(r"SUCCEEDED +mlflow-finish-run", done.stdout)
    assert statuses.seen == ["RUNNING", "FAILED"]
    (page,) = (project / ".vertexai").glob("*/job.html")
    assert "<b>sklearn.utils._param_validation.InvalidParameterError: The &#x27;n_estimators&#x27;" in page.read_text()
    status = vertexai(project, "status", page.parent.name, "--format", "json")
    assert json.loads(status.stdout)["state"] == "FAILED"
    mlflow_run = only_run(project)
    assert mlflow_run.data.tags["failed_node"] == "train_forest"
    assert mlflow_run.data.tags["error"].startswith("InvalidParameterError: The 'n_estimators' parameter")
    assert mlflow_run.data.params["forest.n_estimators"] == "-1"
    lines = mlflow_run.data.tags["mlflow.note.content"].splitlines()
    assert lines[2].startswith("Node **train_forest** failed: InvalidParameterError: The 'n_estimators' parameter")
    assert lines[4].startswith("To go on from there: `kedro vertexai run-local --resume test-project-")
    assert {step.task: step.state for step in step_records(mlflow_run.data.tags)} == {
        "clean": "SUCCEEDED", "split": "SUCCEEDED", "train-linear": "SUCCEEDED", "train-forest": "FAILED",
        "choose-model": "NOT_TRIGGERED", "plot-confusion": "NOT_TRIGGERED",
    }  # fmt: skip
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
    log = mlflow.artifacts.load_text(f"{mlflow_run.info.artifact_uri}/vertexai/logs/train-forest.txt")
    mlflow.set_tracking_uri(None)
    assert "Running node: train_forest" in log
    assert log.splitlines()[-1].startswith("sklearn.utils._param_validation.InvalidParameterError")


def test_the_machine_of_each_step_is_measured_where_that_is_wanted(with_pipeline):
    """Two steps side by side do not overwrite each other's samples."""
    code = "import time\n\ndef wait():\n    time.sleep(2)\n    return 2\n"
    nodes = 'Node(wait, None, "a", name="left"), Node(wait, None, "b", name="right")'
    project = with_pipeline(source(nodes, code))
    settings = project / "conf/base/vertexai.yml"
    settings.write_text(settings.read_text() + "  mlflow: {system_metrics: true}\n")
    done = vertexai(project, "run-local", MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="0.2")
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = only_run(project).data.metrics
    for step in ("left", "right"):
        assert metrics[f"system/{step}/system_memory_usage_percentage"] > 0


def test_steps_side_by_side_and_a_retried_step_never_end_the_run(with_pipeline):
    """The fast branch ends while the slow one runs; the flaky node fails once and is retried."""
    code = """
import time

def fast():
    return 1

def slow():
    time.sleep(3)
    return 2

def flaky(fast):
    if not Path("seen").exists():
        Path("seen").touch()
        raise ValueError("first time")
    return fast

def join(flaky, slow):
    assert (flaky, slow) == (1, 2)
"""
    nodes = """
        Node(fast, None, "fast", name="fast"), Node(slow, None, "slow", name="slow"),
        Node(flaky, "fast", "flaky", name="flaky"), Node(join, ["flaky", "slow"], None, name="join"),
    """
    project = with_pipeline(source(nodes, code))
    assert vertexai(project, "compile").returncode == 0
    spec = json.loads((project / "pipeline.json").read_text())
    inner = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    inner["flaky"]["retryPolicy"] = {"maxRetryCount": 1, "backoffDuration": "0s"}
    (project / "pipeline.json").write_text(json.dumps(spec))
    with Statuses(project) as statuses:
        done = vertexai(project, "run-local", "--spec", "pipeline.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RETRY" in done.stdout
    assert statuses.seen == ["RUNNING", "FINISHED"]
    tags = only_run(project).data.tags
    assert tags["latest_node"] == "join"
    assert not {"failed_node", "error"} & set(tags)
    assert {step.task: (step.state, step.attempts) for step in step_records(tags)} == {
        "fast": ("SUCCEEDED", 1), "slow": ("SUCCEEDED", 1), "flaky": ("SUCCEEDED", 2), "join": ("SUCCEEDED", 1),
    }  # fmt: skip


def test_a_killed_step_fails_the_run_and_is_named(with_pipeline):
    code = """
def harmless():
    return 1

def hungry(x):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    nodes = 'Node(harmless, None, "x", name="harmless"), Node(hungry, "x", None, name="Hungry_node")'
    project = with_pipeline(source(nodes, code))
    with Statuses(project) as statuses:
        done = vertexai(project, "run-local")
    assert done.returncode == 1
    assert "killed by SIGKILL, perhaps for lack of memory" in done.stdout
    assert statuses.seen == ["RUNNING", "FAILED"]
    tags = only_run(project).data.tags
    assert tags["failed_node"] == "Hungry_node"
    assert "hungry-node: killed by SIGKILL" in tags["error"]
    harmless, hungry = step_records(tags)
    assert (harmless.state, hungry.state, hungry.node) == ("SUCCEEDED", "FAILED", "Hungry_node")
    assert "| hungry-node | **FAILED** " in tags["mlflow.note.content"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_run_as_killed(with_pipeline, number):
    code = """
import time

def sleep():
    Path("started").touch()
    time.sleep(120)
"""
    project = with_pipeline(source('Node(sleep, None, "x", name="sleep")', code))
    with Statuses(project) as statuses:
        process = subprocess.Popen(
            [BIN / "kedro", "vertexai", "run-local"], cwd=project, env=environment(), start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        for _ in range(1200):
            if (project / "started").exists() or process.poll() is not None:
                break
            time.sleep(0.05)
        os.killpg(process.pid, number)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "CANCELLED" in output
    assert "Traceback" not in output
    assert statuses.seen == ["RUNNING", "KILLED"]
    assert subprocess.run(["pgrep", "-f", str(project)], capture_output=True, text=True).stdout == ""


def test_a_quote_in_a_parameter_reaches_the_node(with_pipeline):
    code = """
import json

def write(text, number):
    Path("arrived").write_text(json.dumps([text, number]))
"""
    project = with_pipeline(source('Node(write, ["params:text", "params:number"], None, name="write")', code))
    (project / "conf/base/parameters.yml").write_text("text: ''\nnumber: 0\n")
    text = 'it\'s "so" $(touch hacked) `touch hacked` \\n {{$.pipeline_job_name}} ü'
    done = vertexai(project, "run-local", "--params", f"text={text},number=1.0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "arrived").read_text() == json.dumps([text, 1.0])
    assert not (project / "hacked").exists()


def test_a_pipeline_without_tracking_runs_and_makes_no_run(with_pipeline):
    project = with_pipeline(source('Node(lambda: 1, None, "x", name="one")', ""))
    config = project / "conf/base/mlflow.yml"
    config.write_text(
        config.read_text().replace("tracking:\n", "tracking:\n  disable_tracking:\n    pipelines: [__default__]\n")
    )
    done = vertexai(project, "run-local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert runs(project) == []


def test_kedro_run_works_as_in_any_kedro_project(bake):
    project = bake()
    done = run(BIN / "kedro", "run", cwd=project, cold=True)
    assert done.returncode == 0, done.stderr
    assert only_run(project).info.status == "FINISHED"


@pytest.fixture
def no_network(tmp_path: Path) -> dict[str, str]:
    """An environment in which opening a connection or looking up a name ends the process."""
    folder = tmp_path / "no_network"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def refuse(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'socket.gethostbyname'):\n"
        "        sys.stderr.write(f'NETWORK: {event} {arguments[1:]}\\n')\n"
        "        os._exit(99)\n"
        "sys.addaudithook(refuse)\n"
    )
    return {"PYTHONPATH": str(folder), "HOME": str(tmp_path)}


def test_compiling_needs_no_network(bake, no_network):
    project = bake(mlflow_tracking_uri="https://mlflow.invalid")
    proof = run(
        BIN / "python", "-c", "import socket; socket.create_connection(('127.0.0.1', 9))", cwd=project, **no_network
    )
    assert proof.returncode == 99
    for arguments in (["compile"], ["plan"], ["-e", "cloud", "compile"]):
        done = vertexai(project, *arguments, **no_network)
        assert done.returncode == 0, done.stderr


RESERVED = 'Node(print, "params:a", "x", name="mlflow_start_run")'
MISSING = 'Node(print, "nowhere", None, name="lost")'


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["compile", "-p", "pengiuns"], 1, "no such pipeline. Did you mean 'penguins'?"),
        (["-e", "cluod", "plan"], 1, "there is no folder conf/cluod. Did you mean 'cloud'?"),
        (["-e", "cloud/.", "plan"], 1, "--env, or KEDRO_ENV: cloud/.: there is no folder conf/cloud/."),
        (["compile", "--params", "forset.max_depth=3"], 1, "Did you mean 'forest.max_depth'?"),
        (["compile", "--params", "forest"], 2, "must contain a key and a value separated by `=`"),
        (["run-local", "--max-workers", "0"], 2, "0 is not in the range x>=1"),
        (["compile", "-o", "/nowhere/pipeline.json"], 1, "/nowhere/pipeline.json: No such file or directory."),
        (["run-local", "--spec", "absent.json"], 1, "absent.json cannot be read"),
        (["run-local", "--spec", "conf/base/catalog.yml"], 1, "conf/base/catalog.yml is not a compiled pipeline spec."),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(bake, arguments, code, sentence):
    project = bake()
    before = sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts)
    done = vertexai(project, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path for path in project.rglob("*") if "__pycache__" not in path.parts) == before


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        (
            RESERVED,
            "Node 'mlflow_start_run' would become the task 'mlflow-start-run', which is reserved for MLflow. Rename it.",
        ),
        (MISSING, "Dataset 'nowhere' (input of node 'lost' of pipeline '__default__') is made by no node"),
    ],
)
def test_a_pipeline_that_cannot_be_compiled_says_why(with_pipeline: Callable[[str], Path], nodes, sentence):
    project = with_pipeline(source(nodes, ""))
    done = vertexai(project, "compile")
    assert done.returncode == 1
    assert sentence in done.stderr
    assert not (project / "pipeline.json").exists()


def test_a_misspelt_key_is_named_with_its_file(bake):
    project = bake()
    config = project / "conf/base/vertexai.yml"
    config.write_text(config.read_text().replace("description:", "desciption:"))
    done = vertexai(project, "compile")
    assert done.returncode == 1
    assert "conf/base/vertexai.yml: unknown key 'run_config.desciption'. Did you mean 'description'?" in done.stderr
