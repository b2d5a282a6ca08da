"""Two jobs of one pipeline at once: each loads the version that it has saved itself, here and on disks of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fakes.storage import Storage, cloud_storage
from own_disks import run_on_own_disks
from running import BIN, environment, run
from warm_kedro import WarmKedro, warm_kedro

from vertexai_mlflow.contract.job import State, TaskRun
from vertexai_mlflow.contract.spec import with_params
from vertexai_mlflow.local.scheduler import RunOptions, run_spec

pytestmark = pytest.mark.slow

SOURCE = """
import os
from pathlib import Path

from kedro.pipeline import Node, Pipeline


def make(who):
    return {"who": who}


def wait(who):
    return who


def use(report, table, who):
    Path(os.environ["RECORD"], who).write_text(f"{report['who']} {table['who']}")


def create_pipeline(**_kwargs):
    return Pipeline([
        Node(make, "params:who", "report", name="make"),
        Node(make, "params:who", "table", name="make_table"),
        Node(wait, "params:who", "waited", name="wait"),
        Node(use, ["report_again", "table", "waited"], None, name="use"),
    ])
"""
REPORT = {"type": "json.JSONDataset", "versioned": True}


@pytest.fixture
def storage() -> Iterator[Storage]:
    with cloud_storage() as storage:
        yield storage


@pytest.fixture
def project(with_pipeline) -> Path:
    project = with_pipeline(SOURCE)
    (project / "conf/base/parameters.yml").write_text("who: nobody\n")
    return project


@pytest.fixture
def kedro(project, storage) -> Iterator[WarmKedro]:
    with warm_kedro(project, **storage.environment) as kedro:
        yield kedro


def compiled(project: Path, kedro: WarmKedro, place: str, **run_config: str) -> dict:
    catalog = {
        "report": {**REPORT, "filepath": f"{place}/report.json"},
        "report_again": {**REPORT, "filepath": f"{place}/report.json"},
        "table": {**REPORT, "filepath": f"{place}/table.json"},
    }
    (project / "conf/base/catalog.yml").write_text(yaml.safe_dump(catalog))
    (project / "conf/base/vertexai.yml").write_text(yaml.safe_dump({"run_config": {"image": "x", **run_config}}))
    code, printed = kedro("vertexai", "compile", "-p", "under_test")
    assert code == 0, printed
    return json.loads((project / "pipeline.json").read_text())


@pytest.mark.parametrize("place", ["gs://bucket/reports", "data/08_reporting"])
def test_on_disks_of_their_own(project, kedro, storage, tmp_path, place):
    spec = compiled(project, kedro, place, root="gs://bucket/root")
    variables = {"RECORD": str(tmp_path), **storage.environment}

    def run_job(who: str, second: int, **options) -> None:
        created = {"pipeline_job_create_time_utc": f"2026-01-01T00:00:0{second}+00:00"}
        run_on_own_disks(
            spec, project, "gs://bucket/root", kedro.preloaded, parameters={"params": {"who": who}},
            job=f"job-{who}", constants=created, **options, **variables,
        )  # fmt: skip

    def let_the_other_job_run(task: TaskRun) -> None:
        if (task.name, task.state) == ("wait", State.SUCCEEDED):
            run_job("second", 5)

    run_job("first", 1, on_change=let_the_other_job_run)
    assert {name: (tmp_path / name).read_text() for name in ("first", "second")} == {
        "first": "first first",
        "second": "second second",
    }


def test_on_this_machine(project, kedro, tmp_path, monkeypatch):
    spec = compiled(project, kedro, "data/08_reporting")
    for name, value in environment(RECORD=str(tmp_path), PYTHONPATH=str(project / "src")).items():
        monkeypatch.setenv(name, value)

    def let_the_other_job_run(task: TaskRun) -> None:
        if (task.name, task.state) == ("wait", State.SUCCEEDED):
            done = run(
                BIN / "kedro", "vertexai", "run-local", "-p", "under_test", "--params", "who=second", cwd=project
            )
            assert done.returncode == 0, done.stdout + done.stderr

    options = RunOptions(project / ".vertexai", project, max_workers=1, preloaded=kedro.preloaded)
    job = run_spec(with_params(spec, {"who": "first"}), options, on_change=let_the_other_job_run)
    assert job.succeeded, "".join(Path(task.log).read_text() for task in job.failed_tasks)
    assert {name: (tmp_path / name).read_text() for name in ("first", "second")} == {
        "first": "first first",
        "second": "second second",
    }
