"""``run-local --docker`` and ``run-once --auto-build``: the compiled pipeline in containers of a real engine."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import mlflow
import pytest
from docker_engine import kedro
from fakes.iap import Iap
from fakes.read_only_registry import read_only_registry
from running import BIN, commit, environment
from small_cloud import answers, configure, name_experiment

pytestmark = pytest.mark.slow

NODES = """
import time
from pathlib import Path

from kedro.pipeline import Node, Pipeline
{code}

def create_pipeline(**_kwargs):
    return Pipeline([{nodes}])
"""


@pytest.fixture(scope="session")
def nodes_image(docker, make_project):
    """An image of a project without the example, whose pipeline is then mounted over: a build for each test is slow."""
    project = make_project(example="no")
    done = docker("build", "-t", "nodes:1", str(project))
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def with_nodes(docker, nodes_image, tmp_path):
    """A copy of that project with these nodes, and an image of it, of one more layer."""

    def with_nodes(code: str, nodes: str, resources: str = "{}", catalog: str = "") -> Path:
        project = tmp_path / "test-project"
        shutil.copytree(nodes_image, project)
        package = project / "src/test_project/pipelines/under_test"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(NODES.format(code=code, nodes=nodes))
        (project / "conf/base/catalog.yml").write_text(catalog)
        settings = project / "conf/base/vertexai.yml"
        settings.write_text(f"run_config:\n  image: nodes:2\n  resources: {resources}\n")
        commit(project)
        done = docker("build", "-t", "nodes:2", str(project))
        assert done.returncode == 0, done.stderr
        return project

    return with_nodes


def left(docker) -> list[str]:
    """Containers that are still there, running or not."""
    return docker("ps", "-a", "--format", "{{.Names}}").stdout.split()


def only_run(uri: str, experiment: str = "test_project"):
    client = mlflow.MlflowClient(uri)
    (mlflow_run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return mlflow_run


def test_the_pipeline_runs_in_containers_with_the_embedded_store(docker, built):
    done = kedro(built.project, "vertexai", "run-local", "--docker")
    assert done.returncode == 0, done.stdout + done.stderr
    mlflow_run = only_run(f"sqlite:///{built.project}/mlflow.db", "built_image")
    assert mlflow_run.info.status == "FINISHED"
    assert mlflow_run.data.tags["latest_node"] == "plot_confusion"
    assert mlflow_run.data.metrics["metrics.accuracy"] > 0.9
    assert Path(mlflow_run.info.artifact_uri, "confusion_matrix.png").exists()
    assert list(built.project.glob(".vertexai/*/split/data_train"))
    assert left(docker) == []


def test_the_pipeline_runs_in_containers_with_mlflow_as_a_server(docker, built, mlflow_url):
    kedro_ = kedro(built.project, "vertexai", "run-local", "--docker", MLFLOW_TRACKING_URI=mlflow_url)
    assert kedro_.returncode == 0, kedro_.stdout + kedro_.stderr
    mlflow_run = only_run(mlflow_url, "built_image")
    assert mlflow_run.info.status == "FINISHED"
    client = mlflow.MlflowClient(mlflow_url)
    assert [item.path for item in client.list_artifacts(mlflow_run.info.run_id)] == ["confusion_matrix.png", "vertexai"]
    files = [item.path for item in client.list_artifacts(mlflow_run.info.run_id, "vertexai")]
    assert files == ["vertexai/job.html", "vertexai/parameters.yml", "vertexai/pipeline.json"]


def test_doctors_task_looks_around_in_the_image(docker, built):
    done = kedro(built.project, "vertexai", "doctor", "--in-docker")
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        f"✓ user              {os.getuid()}:{os.getgid()}, Python 3.11",
        "✓ image             built from this commit",
        "✓ MLflow ",
    ):
        assert line in done.stdout
    assert left(docker) == []


def test_files_are_carried_between_containers_which_share_no_disk(docker, with_nodes):
    code = """
def make():
    return {"a": [1], "b": [2]}, [3]

def add_up(parts, numbers):
    total = sum(sum(load()) for load in parts.values()) + sum(numbers)
    print("TOTAL", total, sorted(path.name for path in Path("data").rglob("*.json")))
    return total
"""
    nodes = (
        "Node(make, None, ['parts', 'numbers'], name='make'), Node(add_up, ['parts', 'numbers'], 'total', name='add')"
    )
    catalog = """
parts: {type: partitions.PartitionedDataset, path: data/02/parts, dataset: json.JSONDataset, filename_suffix: .json}
numbers: {type: json.JSONDataset, filepath: data/02/numbers.json}
total: {type: json.JSONDataset, filepath: data/08/total.json}
"""
    project = with_nodes(f"from pathlib import Path\n{code}", nodes, catalog=catalog)
    done = kedro(project, "vertexai", "run-local", "--docker")
    assert done.returncode == 0, done.stdout + done.stderr
    (log,) = project.glob(".vertexai/*/add/log.txt")
    assert "TOTAL 6 ['a.json', 'b.json', 'numbers.json']" in log.read_text()
    (kept,) = project.glob(".vertexai/*/add/data_total/*/total.json")
    assert kept.read_text() == "6"
    # Nothing of it is on the disk of this machine.
    assert not (project / "data/02").exists()
    assert left(docker) == []


def test_an_edit_is_uploaded_to_resume_a_job_in_the_image_that_is_there(docker, with_nodes):
    code = """
def make():
    return [1, 2]

def check(numbers):
    raise ValueError("planted")
"""
    project = with_nodes(code, "Node(make, None, 'numbers', name='make'), Node(check, 'numbers', None, name='check')")
    image = docker("image", "inspect", "--format", "{{.Id}}", "nodes:2").stdout
    done = kedro(project, "vertexai", "run-local", "--docker")
    assert (done.returncode, "ValueError: planted" in done.stdout) == (1, True)
    first = re.search(r"run-local --docker --upload-code --resume (\S+)", done.stdout)[1]

    nodes = project / "src/test_project/pipelines/under_test/__init__.py"
    nodes.write_text(
        nodes.read_text().replace('raise ValueError("planted")', "print(f'CHECKED {sum(numbers)} {__file__}')")
    )
    done = kedro(project, "vertexai", "run-local", "--docker", "--upload-code", "--resume", first)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^SUCCEEDED +(\S+)", done.stdout, re.MULTILINE) == [
        "mlflow-start-run", "check", "mlflow-finish-run",
    ]  # fmt: skip
    (log,) = [path for path in project.glob(".vertexai/*/check/log.txt") if path.parts[-3] != first]
    assert re.search(r"CHECKED 3 /tmp/code-\w+/src/test_project/pipelines/under_test/__init__\.py", log.read_text())
    assert "was built from commit" not in done.stderr
    assert docker("image", "inspect", "--format", "{{.Id}}", "nodes:2").stdout == image
    assert left(docker) == []


def test_a_step_without_enough_memory_and_a_failing_one_are_named(docker, with_nodes):
    code = """
def eat():
    return len(bytearray(3 * 10**9))

def bad():
    raise ValueError("planted")
"""
    nodes = "Node(eat, None, 'x', name='eat'), Node(bad, None, 'y', name='bad')"
    project = with_nodes(code, nodes, "{__default__: {memory: 1Gi, cpu: 1}}")
    done = kedro(project, "vertexai", "run-local", "--docker")
    assert done.returncode == 1
    assert "eat failed: killed for lack of memory: raise run_config.resources" in done.stdout
    assert "bad failed: exit code 1" in done.stdout
    assert "ValueError: planted" in done.stdout
    tags = only_run(f"sqlite:///{project}/mlflow.db").data.tags
    assert set(tags["failed_node"].split(", ")) == {"eat", "bad"}
    assert left(docker) == []


def test_ctrl_c_removes_the_containers_and_kills_the_run(docker, with_nodes):
    project = with_nodes("\ndef slow():\n    time.sleep(600)\n", "Node(slow, None, 'x', name='slow')")
    command = subprocess.Popen(
        [BIN / "kedro", "vertexai", "run-local", "--docker"], cwd=project,
        env={**environment(), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    for _ in range(600):
        if any(name.endswith("-slow") for name in left(docker)) or command.poll() is not None:
            break
        os.sched_yield()
        subprocess.run(["sleep", "0.2"])
    os.killpg(command.pid, signal.SIGINT)
    printed, _ = command.communicate(timeout=120)
    assert command.returncode == 130, printed
    assert left(docker) == []
    assert only_run(f"sqlite:///{project}/mlflow.db").info.status == "KILLED"


def test_auto_build_pushes_and_launches_by_digest(docker, make_project, registry, google, vertex, iap: Iap):
    """tests/ci runs what is pushed to its end."""
    project = make_project(**answers(iap))
    name_experiment(project, "auto_build")
    configure(project, api_endpoint=vertex.url)
    image = f"{registry}/project-42/images/test-project:latest"
    vertex.cwd = project
    done = kedro(
        project, "vertexai", "-e", "cloud", "run-once", "--job-id", "built", "--auto-build", "--yes", "-i", image,
        **google.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    digest = re.search(r"Image: +(\S+@sha256:[0-9a-f]{64})", done.stdout)[1]
    assert digest.startswith(f"{registry}/project-42/images/test-project@")
    (job,) = vertex.jobs.values()
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {digest}
    docker("rmi", "--force", image)
    assert docker("pull", digest).returncode == 0
    assert docker("run", "--rm", digest, "python", "-m", "vertexai_mlflow.step", "--help").returncode == 0


def test_a_denied_push_names_the_role_and_launches_nothing(docker, built, google, vertex, iap, make_project):
    project = make_project(**answers(iap))
    configure(project, api_endpoint=vertex.url)
    with read_only_registry() as address:
        done = kedro(
            project, "vertexai", "-e", "cloud", "run-once", "--auto-build", "--yes", "-i", f"{address}/x/y:1",
            **google.environment,
        )  # fmt: skip
    assert done.returncode == 1
    assert "denied: Permission" in done.stderr
    assert "docker push failed with exit code 1, see above. If docker is not logged in: kedro vertexai" in done.stderr
    assert f"your account needs roles/artifactregistry.writer on {address}/x" in done.stderr
    assert vertex.jobs == {}


def test_a_dead_engine_is_a_sentence(docker, built):
    done = kedro(built.project, "vertexai", "run-local", "--docker", DOCKER_HOST="unix:///nowhere/docker.sock")
    assert done.returncode == 1
    assert "The Docker engine does not answer. Is it running?" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_image_that_is_not_there_is_a_sentence(docker, built):
    done = kedro(built.project, "vertexai", "run-local", "--docker", "--image", "127.0.0.1:9/nobody/has:this")
    assert done.returncode == 1
    assert (
        "There is no image 127.0.0.1:9/nobody/has:this. Build it: make image IMAGE=127.0.0.1:9/nobody/has:this"
        in done.stderr
    )


def test_an_image_of_another_commit_or_project_is_warned_of(docker, with_nodes):
    project = with_nodes("\ndef one():\n    return 1\n", "Node(one, None, 'x', name='one')")
    docker("build", "-t", "nodes:2", "--build-arg", "REVISION=0123456789abcdef", str(project))
    done = kedro(project, "vertexai", "run-local", "--docker", "--nodes", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning: Image nodes:2 was built from commit 0123456789ab, this is " in done.stderr
    done = kedro(project, "vertexai", "run-local", "--docker", "--image", "python:3.11-slim")
    assert "Warning: Image python:3.11-slim is not an image of package test_project" in done.stderr
    assert done.returncode == 1
    assert left(docker) == []


def test_a_full_disk_fails_the_step_and_leaves_nothing_running(docker, with_nodes):
    code = "\ndef big():\n    return bytes(50_000_000)\n\ndef take(x):\n    return len(x)\n"
    project = with_nodes(code, "Node(big, None, 'x', name='big'), Node(take, 'x', 'y', name='take')")
    folder = project / ".vertexai"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder], check=True)
    try:
        done = kedro(project, "vertexai", "run-local", "--docker")
        assert done.returncode == 1
        assert "No space left on device" in done.stdout
        assert not list(folder.glob("*/big/data_x*"))
    finally:
        subprocess.run(["umount", folder], check=True)
    assert only_run(f"sqlite:///{project}/mlflow.db").info.status == "FAILED"
    assert left(docker) == []
