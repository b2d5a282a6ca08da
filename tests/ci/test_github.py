"""The generated GitHub workflow, really executed: from ``git push`` to a finished MLflow run, and on bad days."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
import yaml
from docker_engine import commit
from mlflow.entities import Run
from running import BIN, run
from small_cloud import answers, configure, name_experiment

pytestmark = pytest.mark.slow

ACTIONS = Path(__file__).with_name("actions")
STAND_INS = {
    "actions/checkout": "checkout",
    "actions/setup-python": "setup-python",
    "google-github-actions/auth": "google-auth",
    "docker/login-action": "docker-login",
    "docker/setup-buildx-action": "setup-buildx",
    "docker/build-push-action": "build-push",
}
# What a git host does with a push: check the commit out and run its workflow.
HOOK = """#!/bin/sh
set -e
unset GIT_DIR
while read -r _old new _ref; do
    git clone -q "$PWD" {checkout}
    cd {checkout}
    git checkout -q -B main "$new"
    exec {act}
done
"""


@pytest.fixture
def python(tmp_path) -> Path:
    """Programs of a Python environment of the workflow's own, into which ``make install`` installs."""
    folder = tmp_path / "python"
    done = run(BIN / "uv", "venv", "--quiet", "--python", BIN / "python", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # uv's pip, which has the packages at hand, and not by way of the stand-in for Google's hosts.
    pip = folder / "bin/pip"
    pip.write_text(f'#!/bin/sh\nexec env -u HTTPS_PROXY VIRTUAL_ENV={folder} {BIN / "uv"} pip --quiet "$@"\n')
    pip.chmod(0o755)
    return folder / "bin"


@pytest.fixture
def act(docker, python, google, tmp_path) -> Callable[..., list[str]]:
    """The command line that runs a project's workflow for an event, on this machine."""

    def act(project: Path, event: str, *options: str) -> list[str]:
        workflow = (project / ".github/workflows/ci.yml").read_text()
        replaced = [
            f"--local-repository={action}@{pin}={ACTIONS / STAND_INS[action]}"
            for action, pin in sorted(set(re.findall(r"uses: (\S+)@([0-9a-f]{40})", workflow)))
        ]
        variables = {
            **google.environment, "PATH": f"{python}{os.pathsep}{os.environ['PATH']}", "DO_NOT_TRACK": "1",
            **{name: value for name, value in os.environ.items() if name == "DOCKER_HOST" or name.startswith(("PIP_", "SSL_"))},
        }  # fmt: skip
        given = [item for name, value in variables.items() for item in ("--env", f"{name}={value}")]
        return [
            str(BIN / "act"), event, "-P", "ubuntu-latest=-self-hosted", "--action-offline-mode", *replaced, *given, *options,
        ]  # fmt: skip

    return act


@pytest.fixture
def launchable_project(make_project, registry, google, vertex, iap, tmp_path, request) -> Path:
    """A project whose facts are filled in; its jobs run in the image that was pushed."""
    project = make_project(**answers(iap))
    globals_ = project / "conf/cloud/globals.yml"
    facts = yaml.safe_load(globals_.read_text()) | {
        "artifact_registry": f"{registry}/project-42/images",
        "ci_service_account": "ci@project-42.iam.gserviceaccount.com",
        "workload_identity_provider": "projects/1/locations/global/workloadIdentityPools/github/providers/github",
    }
    globals_.write_text(yaml.safe_dump(facts))
    name_experiment(project, request.node.originalname)
    configure(project, api_endpoint=vertex.url)
    commit(project)
    vertex.mount, vertex.inside, vertex.cwd = tmp_path, google.environment, project
    return project


@pytest.fixture
def push(act, tmp_path) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """``git push`` a project to a host that runs its workflow."""

    def push(project: Path) -> subprocess.CompletedProcess[str]:
        host = tmp_path / "host.git"
        assert run("git", "init", "-q", "--bare", host, cwd=tmp_path).returncode == 0
        command = " ".join(f"'{item}'" for item in act(project, "push"))
        hook = host / "hooks/post-receive"
        hook.write_text(HOOK.format(checkout=tmp_path / "checkout", act=command))
        hook.chmod(0o755)
        return run("git", "push", str(host), "HEAD:main", cwd=project, timeout=900)

    return push


@pytest.fixture
def run_of(mlflow_url, request) -> Callable[[str], list[Run]]:
    """The MLflow runs of a commit."""

    def run_of(commit: str) -> list[Run]:
        client = mlflow.MlflowClient(mlflow_url)
        experiment = client.get_experiment_by_name(request.node.originalname)
        if experiment is None:
            return []
        return client.search_runs([experiment.experiment_id], f"tags.`mlflow.source.git.commit` = '{commit}'")

    return run_of


def test_a_push_ends_in_a_finished_run_that_names_commit_and_digest(launchable_project, push, run_of, vertex, iap):
    head = run("git", "rev-parse", "HEAD", cwd=launchable_project).stdout.strip()
    done = push(launchable_project)
    printed = done.stdout + done.stderr
    print(printed)
    (found,) = run_of(head)
    assert found.info.status == "FINISHED"
    (job,) = vertex.jobs.values()
    assert found.data.tags["vertexai_job_name"] == job["name"].rpartition("/")[2]
    image = found.data.tags["vertexai_image"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+/project-42/images/test-project@sha256:[0-9a-f]{64}", image)
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"].values()
    assert {executor["container"]["image"] for executor in executors} == {image}
    assert re.search(rf"commit {head}, image {image}", printed)
    assert re.search(rf"\| job \| \[{found.data.tags['vertexai_job_name']}\]\(https://console", printed)
    assert (
        f"| MLflow run | [FINISHED]({iap.url}/#/experiments/{found.info.experiment_id}/runs/{found.info.run_id})"
        in printed
    )
    assert printed.count("🏁  Job succeeded") == 2
    assert "ambient-access-token" not in printed
    assert iap.refused == []


def test_a_failing_node_turns_it_red_and_is_named_in_the_summary(launchable_project, push, run_of, vertex):
    parameters = launchable_project / "conf/base/parameters.yml"
    parameters.write_text(parameters.read_text().replace("n_estimators: 100", "n_estimators: -1"))
    head = commit(launchable_project)
    done = push(launchable_project)
    printed = done.stdout + done.stderr
    print(printed)
    assert "Error: Job 'launch' failed" in printed
    assert "| failed_node | train_forest |" in printed
    assert re.search(r"\| error \| InvalidParameterError: The 'n_estimators' parameter", printed)
    assert "| step train-forest | FAILED: exit code 1, [log](https://console" in printed
    (found,) = run_of(head)
    assert (found.info.status, found.data.tags["failed_node"]) == ("FAILED", "train_forest")


def test_a_failing_test_stops_before_the_build(launchable_project, push, vertex):
    (launchable_project / "tests/test_planted.py").write_text("def test_planted():\n    assert False\n")
    commit(launchable_project)
    printed = push(launchable_project).stderr
    assert "Failure - Main make check" in printed
    assert "test_planted" in printed
    assert "[ci/launch]" not in printed
    assert vertex.requests == []


def test_placeholders_left_in_stop_it_with_their_names(make_project, push, vertex):
    printed = push(make_project()).stderr
    assert "Failure - Main make doctor compile" in printed
    for name in ("client_id: <oauth-client-id>", "service_account: <service-account-email>"):
        assert f"conf/cloud/globals.yml: {name} is still to be filled in." in printed
    assert "[ci/launch]" not in printed


def test_a_pull_request_is_checked_and_gets_no_identity(launchable_project, act, vertex):
    done = run(*act(launchable_project, "pull_request"), cwd=launchable_project, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "flowchart TD" in done.stdout
    assert "google-github-actions/auth" not in done.stdout
    assert "[ci/launch]" not in done.stdout
    assert vertex.requests == []
