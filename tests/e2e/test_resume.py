"""A failed job is resumed: what it has finished is taken from it, and everything else runs with today's code."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import mlflow
import pytest
import requests
from fakes.storage import cloud_storage
from running import BIN, run
from small_cloud import answers

pytestmark = pytest.mark.slow

SOURCE = """
import mlflow
from kedro.pipeline import Node, Pipeline


def load(factor):
    mlflow.log_metric("loaded", 3.0)
    return [factor, 2, 3]


def train(loaded, rate):
    return lambda: sum(loaded) * rate


def table(loaded):
    return {"rows": len(loaded)}


def slow(loaded):
    raise ValueError("planted in slow")


def check(model, table, slowly):
    raise ValueError("planted in check")


def create_pipeline(**_kwargs):
    return Pipeline([
        Node(load, "params:factor", "loaded", name="load"),
        Node(train, ["loaded", "params:rate"], "model", name="train"),
        Node(table, "loaded", "table", name="table"),
        Node(slow, "loaded", "slowly", name="slow"),
        Node(check, ["model", "table", "slowly"], None, name="check"),
    ])
"""
MENDED = {
    'raise ValueError("planted in slow")': "return sum(loaded)",
    'raise ValueError("planted in check")': 'print("CHECKED", model(), table, slowly)',
}


class Project:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.code = path / "src/test_project/pipelines/under_test/__init__.py"

    def edit(self, *edits: tuple[str, str]) -> None:
        text = self.code.read_text()
        for before, after in edits:
            assert before in text
            text = text.replace(before, after)
        self.code.write_text(text)

    def run_local(self, *options: str) -> tuple[int, str, dict[str, str]]:
        """Returns the exit code, what was printed, and how each task ended."""
        done = run(BIN / "kedro", "vertexai", "run-local", *options, cwd=self.path)
        printed = done.stdout + done.stderr
        states = re.findall(r"^([A-Z_]+) +([a-z][\w-]*)", printed, re.MULTILINE)
        return done.returncode, printed, {name: state for state, name in states}

    def newest(self) -> str:
        jobs = [path for path in (self.path / ".vertexai").iterdir() if (path / "job.json").exists()]
        return max(jobs, key=lambda path: (path / "job.json").stat().st_mtime_ns).name

    def mlflow_run(self, job: str) -> mlflow.entities.Run:
        client = mlflow.MlflowClient(f"sqlite:///{self.path}/mlflow.db")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        (mlflow_run,) = client.search_runs(experiments, f"tags.vertexai_job_name = '{job}'")
        return mlflow_run

    def checked(self) -> str:
        log = (self.path / ".vertexai" / self.newest() / "check/log.txt").read_text()
        return next(line for line in log.splitlines() if line.startswith("CHECKED"))


ENDS = {"mlflow-start-run": "SUCCEEDED", "mlflow-finish-run": "SUCCEEDED"}


@pytest.fixture
def project(with_pipeline) -> Project:
    path = with_pipeline(SOURCE)
    (path / "conf/base/parameters.yml").write_text("factor: 1\nrate: 2\n")
    (path / "conf/base/catalog.yml").write_text("table: {type: json.JSONDataset, filepath: data/02/table.json}\n")
    return Project(path)


def test_a_job_goes_on_where_it_has_failed_until_it_succeeds(project):
    code, printed, states = project.run_local("--params", "rate=5")
    first = project.newest()
    assert code == 1
    assert f"To go on from there with rate=5: kedro vertexai run-local --resume {first}" in printed
    assert (states["slow"], states["check"]) == ("FAILED", "NOT_TRIGGERED")

    project.edit(*list(MENDED.items())[:1])
    code, _printed, states = project.run_local("--resume", first)
    second = project.newest()
    taken = dict.fromkeys(("load", "train", "table"), "TAKEN")
    assert (code, states) == (1, {**ENDS, **taken, "slow": "SUCCEEDED", "check": "FAILED"})

    # It takes what the second job has finished, and what that had taken from the first.
    project.edit(*list(MENDED.items())[1:])
    code, printed, states = project.run_local("--resume", second)
    assert (code, states) == (0, {**ENDS, **taken, "slow": "TAKEN", "check": "SUCCEEDED"}), printed
    assert f"TAKEN         slow from {second}\n" in printed
    assert project.checked() == "CHECKED 30 {'rows': 3} 6"
    run_, before = project.mlflow_run(project.newest()), project.mlflow_run(first)
    assert run_.data.params == before.data.params == {"factor": "1", "rate": "5"}
    assert run_.data.metrics == {"loaded": 3.0}
    assert (run_.info.status, before.info.status) == ("FINISHED", "FAILED")
    assert run_.data.tags["resumed_from"] == second
    assert run_.data.tags["resumed_from_run"] == project.mlflow_run(second).info.run_id
    origins = {"load": first, "train": first, "table": first, "slow": second}
    assert {step: run_.data.tags[f"reused.{step}"] for step in origins} == origins
    story = run_.data.tags["mlflow.note.content"]
    assert f"resumes {second}, MLflow run `" in story
    assert all(f"| {step} | taken from {origin} |" in story for step, origin in origins.items())
    assert "| check | SUCCEEDED |" in story


def test_what_has_changed_or_gone_is_not_taken(project):
    project.edit(*list(MENDED.items())[:1])
    assert project.run_local()[0] == 1
    first = project.newest()
    for option, message in (
        (("--params", "factor=7"), "Step 'load' has finished in job .*, but its parameters changed since. Run it again: --rerun load"),
        (("--rerun", "lod"), "--rerun lod: there is no such node. Did you mean 'load'?"),
    ):  # fmt: skip
        code, printed, _ = project.run_local("--resume", first, *option)
        assert (code, bool(re.search(message, printed))) == (1, True), printed
    code, printed, _ = project.run_local("--resume", "nobody")
    assert (code, f"There is no job nobody on this machine. Known: {first}." in printed) == (1, True)

    project.edit(("sum(loaded) * rate", "sum(loaded) * rate + 1"))
    code, printed, _ = project.run_local("--resume", first)
    assert (
        code,
        "Step 'train' has finished" in printed,
        "its code changed since. Run it again: --rerun train" in printed,
    ) == (1, True, True)
    project.edit(("sum(loaded) * rate + 1", "sum(loaded) * rate"))

    file = project.path / "conf/base/catalog.yml"
    file.write_text(file.read_text().replace("table.json", "other.json"))
    code, printed, _ = project.run_local("--resume", first)
    assert (code, "its catalog entries changed since. Run it again: --rerun table" in printed) == (1, True)
    file.write_text(file.read_text().replace("other.json", "table.json"))

    model = project.path / ".vertexai" / first / "train/data_model"
    model.unlink()
    code, printed, _ = project.run_local("--resume", first)
    assert (code, f"Gone since job {first}: {model}. Make it again: --rerun train" in printed) == (1, True)

    project.edit(*list(MENDED.items())[1:])
    code, printed, states = project.run_local("--resume", first, "--params", "factor=7,rate=3", "--rerun", "load")
    assert (code, set(states)) == (0, {*ENDS, "load", "train", "table", "slow", "check"}), printed
    assert project.checked() == "CHECKED 36 {'rows': 3} 12"
    code, printed, _ = project.run_local("--resume", project.newest())
    assert (code, "has finished all steps. To run some again, name the first: --rerun NODE" in printed) == (1, True)


def test_a_job_that_was_killed_is_resumed_with_its_exit_pipeline(project):
    """A machine that goes down leaves a job without an end."""
    package = project.path / "src/test_project/pipelines/notify"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from pathlib import Path\nfrom kedro.pipeline import Node, Pipeline\n\n\n"
        "def notify(job):\n    Path('said').write_text(job['state'])\n\n\n"
        "def create_pipeline(**_kwargs):\n    return Pipeline([Node(notify, 'params:vertexai_job', None, name='notify')])\n"
    )
    (project.path / "conf/base/vertexai.yml").write_text("run_config: {image: x, on_exit_pipeline: notify}\n")
    project.edit(*MENDED.items())
    assert project.run_local("-p", "under_test")[0] == 0
    (project.path / "said").unlink()
    file = project.path / ".vertexai" / project.newest() / "job.json"
    job = json.loads(file.read_text())
    job["state"] = job["tasks"]["check"]["state"] = "RUNNING"
    file.write_text(json.dumps(job))
    shutil.rmtree(project.path / ".vertexai/.cache", ignore_errors=True)
    code, printed, states = project.run_local("--resume", project.newest())
    taken = dict.fromkeys(("load", "train", "table", "slow"), "TAKEN")
    assert (code, states) == (0, {**ENDS, **taken, "check": "SUCCEEDED"}), printed
    assert (project.path / "said").read_text() == "SUCCEEDED"


def test_a_job_on_vertex_ai_is_resumed(with_pipeline, launchable, google, iap, vertex, cloud, mlflow_url, request):
    """Artifacts are in a bucket, and each task has a disk of its own."""
    with cloud_storage() as storage:
        vertex.own_disks = True
        vertex.environment = {**vertex.environment, **storage.on_vertex}
        path = launchable(with_pipeline(SOURCE, **answers(iap)))
        (path / "conf/base/parameters.yml").write_text("factor: 1\nrate: 2\n")
        (path / "conf/base/catalog.yml").write_text("table: {type: json.JSONDataset, filepath: data/02/table.json}\n")
        project = Project(path)
        project.edit(*list(MENDED.items())[:1])

        def kedro(*arguments: str) -> tuple[int, str]:
            argv = ("vertexai", "-e", "cloud", *arguments)
            done = run(BIN / "kedro", *argv, cwd=path, **google.environment, **storage.on_vertex)
            return done.returncode, done.stdout + done.stderr

        code, printed = kedro("run-once", "--job-id", "first", "--wait-for-completion", "--params", "rate=5")
        assert code == 1, printed
        assert "  ValueError: planted in check" in printed
        assert "To go on from there with rate=5: kedro vertexai -e cloud resume first" in printed

        code, printed = kedro("resume", "first", "--dry-run", "--params", "factor=2")
        assert (code, "Step 'load' has finished in job first, but its parameters changed since" in printed) == (1, True)

        project.edit(*list(MENDED.items())[1:])
        code, printed = kedro("resume", "first", "--job-id", "second", "--wait-for-completion")
        assert code == 0, printed
        taken = re.findall(r"^TAKEN +(\S+) from first$", printed, re.MULTILINE)
        assert sorted(taken) == ["load", "slow", "table", "train"]
        ended = re.findall(r"^SUCCEEDED +(\S+)", printed, re.MULTILINE)
        assert ended == ["mlflow-start-run", "check", "mlflow-finish-run"]
        log = path.parent / "own-disks/second/logs/check.txt"
        assert "CHECKED 30 {'rows': 3} 6" in log.read_text()
        client = mlflow.MlflowClient(mlflow_url)
        experiment = client.get_experiment_by_name(request.node.originalname).experiment_id
        (mlflow_run,) = client.search_runs([experiment], "tags.vertexai_job_name = 'second'")
        assert (mlflow_run.data.params, mlflow_run.data.metrics) == ({"factor": "1", "rate": "5"}, {"loaded": 3.0})
        tags = mlflow_run.data.tags
        assert [tags[f"reused.{step}"] for step in ("train", "table", "slow")] == ["first"] * 3
        assert tags["resumed_from"] == "first"

        (model,) = [name for name in storage.objects if "first/train/data_model" in name]
        name = quote(model.removeprefix("bucket/"), safe="")
        url = f"{storage.environment['STORAGE_EMULATOR_HOST']}/storage/v1/b/bucket/o/{name}"
        assert requests.delete(url, timeout=10).status_code == 204
        code, printed = kedro("resume", "first", "--dry-run")
        assert (code, f"Gone since job first: gs://{model}. Make it again: --rerun train" in printed) == (1, True), (
            printed
        )
        code, printed = kedro("resume", "second")
        assert (code, "has finished all steps" in printed) == (1, True)
