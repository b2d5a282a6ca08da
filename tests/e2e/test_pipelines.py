"""Pipelines as people have them, run as compiled: failures at the end, timeouts, retries, long parameters."""

import json
import re
from pathlib import Path

import pytest
import yaml
from pipeline_runs import only_run, source, vertexai
from running import BIN, run

pytestmark = pytest.mark.slow

NOTIFY = """
import json
from pathlib import Path

from kedro.pipeline import Node, Pipeline

def notify(job):
    Path("message.json").write_text(json.dumps(job))
    {more}

def create_pipeline(**_kwargs):
    return Pipeline([Node(notify, "params:vertexai_job", None, name="notify")])
"""


def settings(project: Path, **run_config: object) -> None:
    content = {"run_config": {"image": "x", **run_config}}
    (project / "conf/base/vertexai.yml").write_text(yaml.safe_dump(content))


@pytest.fixture
def with_exit_pipeline(with_pipeline):
    """A project whose pipeline ``under_test`` is this, and whose exit pipeline writes ``message.json`` and does more."""

    def with_exit_pipeline(source: str, more: str = "") -> Path:
        project = with_pipeline(source)
        package = project / "src/test_project/pipelines/notify"
        package.mkdir()
        (package / "__init__.py").write_text(NOTIFY.replace("{more}", more))
        settings(project, on_exit_pipeline="notify")
        return project

    return with_exit_pipeline


def test_the_exit_pipeline_is_told_what_failed(with_exit_pipeline):
    code = "\ndef work():\n    raise ValueError('planted')\n"
    project = with_exit_pipeline(source("Node(work, None, 'x', name='Work_hard')", code))
    done = vertexai(project, "run-local", "-p", "under_test")
    assert done.returncode == 1
    job = json.loads((project / "message.json").read_text())
    mlflow_run = only_run(project)
    assert job == {
        "name": mlflow_run.data.tags["vertexai_job_name"], "url": mlflow_run.data.tags["vertexai_job_url"], "state": "FAILED",
        "failed_node": "Work_hard", "error": "ValueError: planted", "mlflow_run_id": mlflow_run.info.run_id,
    }  # fmt: skip
    assert mlflow_run.info.status == "FAILED"
    assert mlflow_run.data.tags["failed_node"] == "Work_hard"
    assert mlflow_run.data.tags["latest_node"] == "Work_hard"


def test_an_exit_pipeline_that_fails_fails_the_run_with_its_error(with_exit_pipeline):
    code = "\ndef work():\n    return 1\n"
    project = with_exit_pipeline(source("Node(work, None, 'x', name='work')", code), "raise OSError('no mail')")
    done = vertexai(project, "run-local", "-p", "under_test")
    assert done.returncode == 1
    assert re.search(r"FAILED +mlflow-finish-run", done.stdout)
    mlflow_run = only_run(project)
    assert mlflow_run.info.status == "FAILED"
    assert mlflow_run.data.tags["error"] == "on_exit_pipeline notify: OSError: no mail"


def test_an_exit_pipeline_that_cannot_run_is_found_when_compiling(with_exit_pipeline):
    project = with_exit_pipeline(source("Node(print, 'params:a', 'x', name='work')", ""))
    settings(project, on_exit_pipeline="notfy")
    done = vertexai(project, "compile")
    assert done.returncode == 1
    assert "no such pipeline. Did you mean 'notify'?" in done.stderr


def test_a_step_that_takes_too_long_is_stopped_and_named(with_pipeline):
    code = "\nimport time\n\ndef slow():\n    time.sleep(600)\n"
    project = with_pipeline(source("Node(slow, None, 'x', name='slow')", code))
    settings(project, resources={"slow": {"timeout": 15}})
    done = vertexai(project, "run-local")
    assert done.returncode == 1
    tags = only_run(project).data.tags
    assert tags["failed_node"] == "slow"
    assert tags["error"] == "StepTimeout: the step ran longer than its timeout of 15 s"


def test_a_retried_step_writes_its_artifact_anew(with_pipeline):
    code = """
def flaky():
    if not Path("seen").exists():
        Path("seen").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "whole"

def take(x):
    assert x == "whole"
"""
    nodes = "Node(flaky, None, 'x', name='flaky'), Node(take, 'x', None, name='take')"
    project = with_pipeline(source(nodes, code))
    settings(project, resources={"flaky": {"retries": 1}})
    done = vertexai(project, "run-local")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RETRY" in done.stdout
    assert only_run(project).info.status == "FINISHED"


def test_what_cannot_be_serialised_is_named_in_mlflow_too(with_pipeline):
    code = "\nimport threading\n\ndef lock():\n    return threading.Lock()\n"
    nodes = "Node(lock, None, 'x', name='make_lock'), Node(print, 'x', None, name='take')"
    project = with_pipeline(source(nodes, code))
    done = vertexai(project, "run-local")
    assert done.returncode == 1
    assert "Node 'make_lock' made dataset 'x', a lock, which cannot be written as an artifact." in done.stdout
    tags = only_run(project).data.tags
    assert tags["failed_node"] == "make_lock"


def test_a_step_side_by_side_with_a_hundred_kilobytes_of_parameters_gets_them_as_written(with_pipeline):
    code = """
import json

def write(text, deep, empty, listed):
    Path("arrived").write_text(json.dumps([text, deep, empty, listed]))
"""
    takes = "['params:text', 'params:deep', 'params:empty', 'params:listed']"
    project = with_pipeline(source(f"Node(write, {takes}, None, name='write')", code))
    (project / "conf/base/parameters.yml").write_text("text: ''\ndeep: {}\nempty: x\nlisted: []\n")
    text = ('it\'s "so" $(touch hacked) `touch hacked` \\n\n\t ünï🐧 {{$}} %s; ' * 2000)[:100_000]
    given = {"text": text, "deep": {"a": {"b c": [1, 2.0, None, "x"]}}, "empty": "", "listed": [[], {}, "", True]}
    script = """
import json
from pathlib import Path
from vertexai_mlflow.contract.spec import with_params
from vertexai_mlflow.local.scheduler import RunOptions, run_spec
spec = json.loads(Path("pipeline.json").read_text())
given = json.loads(Path("given.json").read_text())
job = run_spec(with_params(spec, given), RunOptions(Path(".vertexai"), Path.cwd()))
raise SystemExit(job.state)
"""
    (project / "given.json").write_text(json.dumps(given))
    assert vertexai(project, "compile").returncode == 0
    done = run(BIN / "python", "-c", script, cwd=project, PYTHONPATH=str(project / "src"))
    assert done.stderr.strip() == "SUCCEEDED"
    assert json.loads((project / "arrived").read_text()) == [
        given[name] for name in ("text", "deep", "empty", "listed")
    ]
    assert not (project / "hacked").exists()


PARTS = """
    Node(print, "params:a", "one", name="one", tags="early"), Node(print, "one", "two", name="two", tags="early"),
    Node(print, "two", "three", name="three"), Node(print, ["three", "kept"], None, name="four"),
"""


@pytest.mark.parametrize(
    ("arguments", "nodes"),
    [
        (["--to-nodes", "two"], ["one", "two"]),
        (["--tags", "early"], ["one", "two"]),
        (["--nodes", "one"], ["one"]),
        (["--to-outputs", "two", "--nodes", "one"], ["one"]),
    ],
)
def test_a_part_of_a_pipeline(with_pipeline, arguments, nodes):
    project = with_pipeline(source(PARTS, ""))
    (project / "conf/base/parameters.yml").write_text("a: 1\n")
    (project / "conf/base/catalog.yml").write_text("kept: {type: pickle.PickleDataset, filepath: data/kept.pkl}\n")
    done = vertexai(project, "plan", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    assert [node for step in json.loads(done.stdout)["steps"] for node in step["nodes"]] == nodes


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["plan", "--from-nodes", "three"], 1, "Dataset 'two' (input of node 'three' of pipeline '__default__') is made by node 'two', which is left out, and is not in the catalog, so nothing keeps it."),
        (["plan", "--nodes", "tree"], 1, "There is no such part of pipeline '__default__': Pipeline does not contain nodes named ['tree']"),
        (["run-local", "--spec", "x.json", "--nodes", "one"], 2, "--spec runs a spec as it was compiled"),
    ],
)  # fmt: skip
def test_a_part_that_cannot_run_says_why(with_pipeline, arguments, code, sentence):
    project = with_pipeline(source(PARTS, ""))
    (project / "conf/base/catalog.yml").write_text("kept: {type: pickle.PickleDataset, filepath: data/kept.pkl}\n")
    done = vertexai(project, *arguments)
    assert done.returncode == code
    assert sentence in done.stderr


def test_a_dataset_on_local_disk_is_carried_in_the_cloud_and_doctor_says_where_raw_data_comes_from(bake):
    project = bake(gcp_project_id="project-42", gcp_region="europe-west1", gcp_bucket="gs://bucket")
    done = vertexai(project, "-e", "cloud", "doctor", "--offline", "--format", "json")
    checks = {check["name"]: check["message"] for check in json.loads(done.stdout)}
    assert checks["data"] == "data/01_raw/penguins.csv: in the image"
    (project / "data/01_raw/penguins.csv").rename(project / "data/penguins.csv")
    done = vertexai(project, "-e", "cloud", "doctor", "--offline", "--format", "json")
    checks = {check["name"]: check["message"] for check in json.loads(done.stdout)}
    assert "Not in this folder, so not in the image either: data/01_raw/penguins.csv" in checks["data"]
    catalog = project / "conf/base/catalog.yml"
    catalog.write_text(
        catalog.read_text() + "\npenguins:\n  type: pandas.CSVDataset\n  filepath: data/02/penguins.csv\n"
    )
    assert vertexai(project, "compile").returncode == 0
    (project / "data/penguins.csv").rename(project / "data/01_raw/penguins.csv")
    done = vertexai(project, "-e", "cloud", "compile")
    assert done.returncode == 0, done.stderr
    spec = json.loads((project / "pipeline.json").read_text())
    assert (
        """--files={"penguins": "data_penguins"}"""
        in spec["deploymentSpec"]["executors"]["exec-split"]["container"]["args"]
    )
