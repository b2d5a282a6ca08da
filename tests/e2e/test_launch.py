"""Launching as its user does it: real commands and client libraries, a job that really runs, MLflow behind a proxy."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import mlflow
import pytest
from fakes.vertex import Vertex
from mlflow.entities import Run
from running import BIN, environment, run
from small_cloud import ACCOUNT, answers

from vertexai_mlflow import __version__
from vertexai_mlflow.tracking.steps import step_records

pytestmark = pytest.mark.slow

NODES = """
import time
from pathlib import Path

from kedro.pipeline import Node, Pipeline
{code}

def create_pipeline(**_kwargs):
    return Pipeline([{nodes}])
"""
ONE = NODES.format(code="def one():\n    return 1\n", nodes="Node(one, None, 'x', name='one')")
SLOW = NODES.format(
    code="def first():\n    return 1\n\ndef slow(first):\n    time.sleep(60)\n",
    nodes="Node(first, None, 'first', name='first'), Node(slow, 'first', None, name='slow')",
)


@pytest.fixture
def kedro(google):
    """Run ``kedro vertexai -e cloud …`` in a project."""

    def kedro(project: Path, *arguments: str, env: str = "cloud") -> subprocess.CompletedProcess[str]:
        return run(BIN / "kedro", "vertexai", "-e", env, *arguments, cwd=project, **google.environment)

    return kedro


@pytest.fixture
def run_of(mlflow_url, request):
    """The MLflow run of a job, in the experiment named after the test."""

    def run_of(job: str) -> Run:
        client = mlflow.MlflowClient(mlflow_url)
        experiment = client.get_experiment_by_name(request.node.originalname).experiment_id
        (mlflow_run,) = client.search_runs([experiment], filter_string=f"tags.vertexai_job_name = '{job}'")
        return mlflow_run

    return run_of


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


def is_at(vertex: Vertex, task: str) -> bool:
    """Whether a job is at that task."""
    details = [detail for job in vertex.jobs.values() for detail in job["jobDetail"].get("taskDetails", [])]
    return any(detail["taskName"] == task and detail["state"] == "RUNNING" for detail in details)


def test_run_once_follows_the_job_and_one_mlflow_run_has_its_name(bake, launchable, kedro, iap, vertex, run_of):
    project = launchable(bake(**answers(iap)), "experiment_name: penguins\nexperiment_description: Three species")
    done = kedro(project, "run-once", "--wait-for-completion", "--params", "forest.n_estimators=7")
    assert done.returncode == 0, done.stdout + done.stderr
    (name,) = re.findall(r"^Job (.+)$", done.stdout, re.MULTILINE)
    ended = re.findall(r"^SUCCEEDED +(\S+)", done.stdout, re.MULTILINE)
    assert (ended[0], ended[-1], len(ended)) == ("mlflow-start-run", "mlflow-finish-run", 8)
    assert done.stdout.splitlines()[-1] == f"{name}: SUCCEEDED"

    mlflow_run = run_of(name)
    assert mlflow_run.info.status == "FINISHED"
    tags = mlflow_run.data.tags
    url = f"https://console.cloud.google.com/vertex-ai/locations/europe-west1/pipelines/runs/{name}?project=project-42"
    assert (tags["vertexai_job_url"], tags["latest_node"]) == (url, "plot_confusion")
    assert f"Vertex AI: {url}" in done.stdout
    assert f"runs/{mlflow_run.info.run_id}" in done.stdout
    assert f"tags.vertexai_job_name = '{name}'" in done.stdout
    assert tags["kedro_command"].startswith("kedro vertexai -e cloud run-once --wait-for-completion --params")
    assert f"[Vertex AI job {name}]({url})" in tags["mlflow.note.content"]
    assert mlflow_run.data.params["forest.n_estimators"] == "7"
    assert iap.refused == []

    (job,) = vertex.jobs.values()
    assert job["serviceAccount"] == ACCOUNT
    assert job["runtimeConfig"]["parameterValues"] == {"params": {"forest": {"n_estimators": 7}}}
    (experiment,) = [context for context in vertex.contexts.values() if context["schemaTitle"] == "system.Experiment"]
    assert (experiment["displayName"], len(experiment["children"])) == ("penguins", 1)
    assert "ambient-access-token" not in done.stdout + done.stderr

    listed = kedro(project, "list-pipelines", "--format", "json")
    (entry,) = json.loads(listed.stdout)
    assert (entry["name"], entry["state"], entry["mlflow_status"]) == (name, "SUCCEEDED", "FINISHED")
    assert mlflow_run.info.run_id in entry["mlflow_run"]
    table = kedro(project, "list-pipelines").stdout
    assert re.search(rf"{name} +│ __default__ +│ SUCCEEDED +│ .* │ FINISHED", table)


def test_a_failing_step_is_named_with_its_error_and_its_log(with_pipeline, launchable, kedro, cloud, iap, run_of):
    source = NODES.format(
        code="def good():\n    print('so far so good')\n    return 1\n\ndef bad(good):\n    raise ValueError('a planted failure')\n",
        nodes="Node(good, None, 'good', name='good'), Node(bad, 'good', None, name='bad')",
    )
    project = launchable(with_pipeline(source, **answers(iap)))
    done = kedro(project, "run-once", "--job-id", "doomed", "--wait-for-completion")
    assert done.returncode == 1
    assert "bad failed: exit code 1" in done.stdout
    assert re.search(r"Its log: https://console.cloud.google.com/logs/query;query=\S+ml_job\S+", done.stdout)
    assert done.stdout.splitlines()[-1] == "doomed: FAILED"
    mlflow_run = run_of("doomed")
    assert (mlflow_run.info.status, mlflow_run.data.tags["failed_node"]) == ("FAILED", "bad")
    assert mlflow_run.data.tags["error"] == "ValueError: a planted failure"

    status = kedro(project, "status", "doomed")
    assert status.returncode == 0
    assert re.search(r"bad +│ FAILED +│ 1 .*exit code 1", status.stdout)
    page = json.loads(kedro(project, "status", "doomed", "--format", "annotations").stdout)
    labels = [link["external_link"]["label"] for link in page["Pipeline"]]
    assert labels == ["Vertex AI job doomed: FAILED", "MLflow run: FAILED", "Log of bad: exit code 1"]
    written = kedro(project, "status", "doomed", "--format", "html", "--output", "pages/job.html", "--viz")
    assert written.stdout == "The job's page: pages/job.html\n", written.stderr
    shown = (project / "pages/job.html").read_text()
    assert "<title>doomed: failed</title>" in shown
    assert re.search("What failed.*exit code 1.*<b>ValueError: a planted failure</b>", shown, re.DOTALL)
    assert f"runs/{mlflow_run.info.run_id}" in shown
    events = json.loads((project / ".viz/kedro_pipeline_events.json").read_text())
    (failure,) = [event for event in events if event["event"] == "on_node_error"]
    assert (failure["node"], failure["error"]) == ("bad", "ValueError: a planted failure")
    assert failure["traceback"].splitlines()[-1] == "ValueError: a planted failure"
    cloud.page = 3
    logs = kedro(project, "logs", "doomed", "--step", "bad")
    assert re.search(r"^2026-11-24T\S+ INFO +bad: ValueError: a planted failure$", logs.stdout, re.MULTILINE)
    assert "so far so good" not in logs.stdout
    assert "good: so far so good" in kedro(project, "logs", "doomed").stdout
    wrong = kedro(project, "logs", "doomed", "--step", "bda")
    assert wrong.returncode == 1
    assert "--step bda: job doomed has no such task. Did you mean 'bad'?" in wrong.stderr


def test_ctrl_c_leaves_the_job_alone_and_cancel_kills_the_run(
    with_pipeline, launchable, kedro, google, vertex, iap, run_of
):
    project = launchable(with_pipeline(SLOW, **answers(iap)))
    # Whoever started the tests in the background has Ctrl-C ignored, and children inherit it.
    argv = [
        "env", "--default-signal=INT", str(BIN / "kedro"), "vertexai", "-e", "cloud", "run-once", "--job-id", "long",
        "--wait-for-completion",
    ]  # fmt: skip
    command = subprocess.Popen(
        argv,
        cwd=project,
        env=environment(**google.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until(lambda: is_at(vertex, "slow"))
    wait_until(lambda: run_of("long").data.tags.get("latest_node") == "slow")
    command.send_signal(signal.SIGINT)
    printed, _ = command.communicate(timeout=30)
    assert command.returncode == 130
    assert "The job goes on. Follow it with: kedro vertexai -e cloud status long --wait-for-completion" in printed
    assert "Stop it with: kedro vertexai -e cloud cancel long" in printed
    (job,) = vertex.jobs.values()
    assert job["state"] == "PIPELINE_STATE_RUNNING"

    cancelled = kedro(project, "cancel", "long")
    assert cancelled.returncode == 0, cancelled.stdout + cancelled.stderr
    assert "so its MLflow run was ended now: KILLED." in cancelled.stderr
    assert job["state"] == "PIPELINE_STATE_CANCELLED"
    mlflow_run = run_of("long")
    assert (mlflow_run.info.status, mlflow_run.data.tags["latest_node"]) == ("KILLED", "slow")
    (step,) = [step for step in step_records(mlflow_run.data.tags) if step.task == "slow"]
    assert step.state == "CANCELLED"
    again = kedro(project, "cancel", "long")
    assert (again.returncode, again.stdout) == (0, "Job long has already ended: CANCELLED\n")


def test_status_ends_a_run_whose_job_has_ended_without_its_exit_task(
    with_pipeline, launchable, kedro, vertex, iap, run_of
):
    project = launchable(with_pipeline(SLOW, **answers(iap)))
    assert kedro(project, "run-once", "--job-id", "lost").returncode == 0
    wait_until(lambda: is_at(vertex, "slow"))
    vertex.answer("POST", f"/v1/{vertex.parent}/pipelineJobs/lost:cancel", {}, {})  # as the console's button does
    (job,) = vertex.jobs.values()
    wait_until(lambda: job["state"] == "PIPELINE_STATE_CANCELLED")
    assert run_of("lost").info.status == "RUNNING"
    status = kedro(project, "status", "lost", "--format", "json")
    assert json.loads(status.stdout)["state"] == "CANCELLED"
    assert "so its MLflow run was ended now: KILLED." in status.stderr
    assert run_of("lost").info.status == "KILLED"
    assert "its MLflow run was ended" not in kedro(project, "status", "lost").stderr


def test_dry_run_prints_what_would_be_sent_and_sends_nothing(bake, launchable, kedro, vertex, iap):
    project = launchable(bake(**answers(iap)))
    done = kedro(
        project, "run-once", "--dry-run", "--params", "forest.n_estimators=3", "-i", "registry/x@sha256:" + "0" * 64
    )
    assert done.returncode == 0, done.stderr
    asked = json.loads(done.stdout)
    assert asked["runtimeConfig"]["parameterValues"] == {"params": {"forest": {"n_estimators": 3}}}
    images = {
        executor["container"]["image"] for executor in asked["pipelineSpec"]["deploymentSpec"]["executors"].values()
    }
    assert images == {"registry/x@sha256:" + "0" * 64}
    assert (vertex.requests, iap.passed) == ([], 0)


def test_asking_again_with_the_same_job_id_starts_no_second_job(with_pipeline, launchable, kedro, vertex, iap):
    vertex.execute = False
    project = launchable(with_pipeline(ONE, **answers(iap)))
    assert kedro(project, "run-once", "--job-id", "once").returncode == 0
    again = kedro(project, "run-once", "--job-id", "once")
    assert again.returncode == 0
    assert "Job once exists already (PENDING); no second one was started." in again.stdout
    assert len(vertex.jobs) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--job-id", "Not_OK"], "Not_OK is not a job id: use up to 127 lower-case letters, digits and hyphens"),
        (["-p", "penguin"], "--pipeline penguin: pipeline_registry.py registers no such pipeline. Did you mean 'penguins'?"),
        (["--params", "forest.n_estimator=1"], "no node of pipeline '__default__' uses parameter 'forest.n_estimator'. Did you mean 'forest.n_estimators'?"),
    ],
)  # fmt: skip
def test_a_mistake_launches_nothing(bake, launchable, kedro, vertex, iap, arguments, sentence):
    done = kedro(launchable(bake(**answers(iap))), "run-once", *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert vertex.requests == []


def test_what_doctor_finds_offline_stops_run_once(bake, kedro, vertex, iap):
    project = bake(**answers(iap, client_id="<oauth-client-id>"))
    done = kedro(project, "run-once")
    assert done.returncode == 1
    assert (
        "Nothing was launched.\n✗ placeholders      Not filled in yet: conf/cloud/globals.yml: client_id: <oauth-client-id>"
        in done.stderr
    )
    assert vertex.requests == []


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_an_image_here_that_vertex_ai_cannot_run_is_warned_of(architecture, bake, google, iap, tmp_path):
    docker = tmp_path / "docker"
    labels = {"org.opencontainers.image.title": "test_project", "vertexai_mlflow.version": __version__}
    known = [{"Os": "linux", "Architecture": architecture, "Config": {"Labels": labels}}]
    docker.write_text(f"#!/bin/sh\necho '{json.dumps(known)}'\n")
    docker.chmod(0o755)
    done = run(
        BIN / "kedro", "vertexai", "-e", "cloud", "run-once", "--dry-run", "-i", "registry/x:1",
        cwd=bake(**answers(iap)), **{**google.environment, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    warning = (
        "Warning: Image registry/x:1 is for linux/arm64, and Vertex AI runs only linux/amd64. "
        "If this is what was pushed, push it again: kedro vertexai -e cloud push"
    )
    assert done.stderr.count(warning) == (architecture == "arm64")
    assert done.stderr.count("Warning: Image") == (architecture == "arm64")


def test_without_a_cloud_there_is_a_sentence(bake, google):
    project = bake()
    for command in (["run-once"], ["list-pipelines"], ["status", "x"], ["logs", "x"], ["cancel", "x"], ["ui"]):
        done = run(BIN / "kedro", "vertexai", *command, cwd=project, **google.environment)
        assert done.returncode == 1
        assert "project_id and region not set, so this environment has no cloud to ask." in done.stderr


def test_ui_prints_the_page(bake, launchable, kedro, iap):
    project = launchable(bake(**answers(iap)))
    page = "https://console.cloud.google.com/vertex-ai"
    assert kedro(project, "ui").stdout == f"{page}/pipelines/runs?project=project-42\n"
    assert kedro(project, "ui", "x").stdout == f"{page}/locations/europe-west1/pipelines/runs/x?project=project-42\n"


def test_an_image_that_cannot_be_built_launches_nothing(bake, launchable, google, vertex, iap):
    project = launchable(bake(**answers(iap)))
    done = run(
        BIN / "kedro", "vertexai", "-e", "cloud", "run-once", "--auto-build", "--yes",
        cwd=project, **{**google.environment, "PATH": str(BIN)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "There is no docker command here" in done.stderr
    assert vertex.requests == []


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"PATH": str(BIN)}, "There is no docker command here"),
        ({"NO_GCE_CHECK": "true", "HOME": "/nonexistent"}, "There are no Google credentials here. Log in: gcloud auth"),
    ],
)
def test_docker_login_says_what_is_missing(variables, sentence, bake, google, iap):
    done = run(
        BIN / "kedro", "vertexai", "-e", "cloud", "docker-login",
        cwd=bake(**answers(iap)), cold=True, **{**google.environment, **variables},
    )  # fmt: skip
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "ambient-access-token" not in done.stdout + done.stderr
