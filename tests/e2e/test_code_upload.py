"""``run-once --upload-code``: an edit runs on Vertex AI in the image that was there before it."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest
from fakes.storage import Storage, cloud_storage
from fakes.vertex import Vertex
from running import BIN, commit, run
from small_cloud import answers

pytestmark = pytest.mark.slow

SOURCE = """
import mlflow
from kedro.pipeline import Node, Pipeline


def score(factor):
    mlflow.log_metric("score", 1.0 * factor)
    open("data/report.txt", "w").write(str(factor))


def create_pipeline(**_kwargs):
    return Pipeline([Node(score, "params:factor", None, name="score")])
"""


@dataclass
class Launched:
    """A project, the folder that its image has, and the cloud where it is launched."""

    path: Path
    image: Path
    vertex: Vertex
    storage: Storage
    variables: dict[str, str]

    def kedro(self, *arguments: str, **extra: str) -> tuple[int, str]:
        argv = ("vertexai", "-e", "cloud", *arguments)
        done = run(BIN / "kedro", *argv, cwd=self.path, **self.variables, **{"CI": "", **extra})
        return done.returncode, done.stdout + done.stderr

    def edit(self, before: str, after: str) -> None:
        code = self.path / "src/test_project/pipelines/under_test/__init__.py"
        assert before in code.read_text()
        code.write_text(code.read_text().replace(before, after))

    def archives(self) -> list[str]:
        return [name for name in self.storage.objects if "/code/" in name]


@pytest.fixture
def launched(with_pipeline, launchable: Callable[[Path], Path], google, iap, vertex, cloud, tmp_path):
    with cloud_storage() as storage:
        path = launchable(with_pipeline(SOURCE, **answers(iap)))
        (path / "conf/base/parameters.yml").write_text("factor: 1\n")
        commit(path)
        vertex.own_disks = True
        vertex.environment = {**vertex.environment, **storage.on_vertex}
        vertex.cwd = shutil.copytree(path, tmp_path / "image/test-project")
        yield Launched(path, vertex.cwd, vertex, storage, {**google.environment, **storage.on_vertex})


def test_an_edit_runs_in_the_image_that_is_there(launched, mlflow_url):
    launched.edit("1.0 * factor", "weight * factor")
    launched.edit("import mlflow", "import mlflow\nfrom test_project.weights import weight")
    (launched.path / "src/test_project/weights.py").write_text("weight = 7.0\n")
    (launched.path / "conf/base/parameters.yml").write_text("factor: 3\n")
    code, printed = launched.kedro("run-once", "--upload-code", "--job-id", "first", "--wait-for-completion")
    assert code == 0, printed
    (archive,) = launched.archives()
    uri = f"gs://{archive}"
    assert re.fullmatch(r"bucket/test-project/cloud/code/[0-9a-f]{64}\.tar\.gz", archive)
    assert re.search(rf"^Code: +{re.escape(uri)}, \d+ kB, sent$", printed, re.MULTILINE), printed
    assert len(launched.storage.objects[archive]) <= 200_000

    head = run("git", "rev-parse", "HEAD", cwd=launched.path).stdout.strip()
    client = mlflow.MlflowClient(mlflow_url)
    experiment = client.get_experiment_by_name("test_an_edit_runs_in_the_image_that_is_there").experiment_id
    (mlflow_run,) = client.search_runs([experiment])
    assert mlflow_run.data.metrics == {"score": 21.0}
    tags = mlflow_run.data.tags
    assert (tags["vertexai_code"], tags["vertexai_code_dirty"], tags["mlflow.source.git.commit"]) == (uri, "true", head)
    job = launched.vertex.jobs[f"{launched.vertex.parent}/pipelineJobs/first"]
    labels = {
        name: value for name, value in job["labels"].items() if name in ("kedro_code", "kedro_commit", "kedro_dirty")
    }
    digits = archive.rpartition("/")[2][:32]
    assert labels == {"kedro_code": digits, "kedro_commit": head, "kedro_dirty": "true"}
    assert not (launched.image / "src/test_project/weights.py").exists()

    # The same code is not sent again.
    commit(launched.path)
    code, printed = launched.kedro("run-once", "--upload-code", "--wait-for-completion", "--params", "factor=5")
    assert (code, "kB, already uploaded" in printed) == (0, True), printed
    assert launched.archives() == [archive]
    newest = client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0]
    assert (newest.data.metrics, newest.data.tags["vertexai_code_dirty"]) == ({"score": 35.0}, "false")


def test_what_cannot_run_so_is_refused(launched):
    for options, extra, code, message in (
        (["--auto-build"], {}, 2, "--auto-build makes an image of this code, so it does not go with --upload-code."),
        ([], {"CI": "true"}, 1, "--upload-code is for your own machine. CI launches an image by its digest: --image"),
    ):
        exit_code, printed = launched.kedro("run-once", "--upload-code", *options, **extra)
        assert (exit_code, message in printed) == (code, True), printed
    code, printed = launched.kedro("run-local", "--upload-code")
    assert (code, "--upload-code goes with --docker" in printed) == (2, True)
    assert launched.archives() == []

    # A dry run sends nothing; a bucket that refuses is a sentence, and no job has started.
    assert launched.kedro("run-once", "--upload-code", "--dry-run")[0] == 0
    assert launched.archives() == []
    launched.storage.buckets.clear()
    code, printed = launched.kedro("run-once", "--upload-code")
    assert (code, "The code cannot be copied to gs://bucket/test-project/cloud/code/" in printed) == (1, True), printed
    assert launched.vertex.jobs == {}


def test_a_new_dependency_needs_a_new_image(launched):
    lock = launched.path / "requirements.lock"
    lock.write_text(f"{lock.read_text()}\nsnowballstemmer==3.0.1\n")
    code, printed = launched.kedro("run-once", "--upload-code", "--wait-for-completion", "--job-id", "first")
    assert code == 1
    assert "mlflow-start-run failed" in printed
    assert "To go on from there" not in printed  # nothing has finished that another job could take
    log = launched.image.parent / "own-disks/first/logs/mlflow-start-run.txt"
    assert log.read_text().startswith("This image was not built from the requirements.lock")
