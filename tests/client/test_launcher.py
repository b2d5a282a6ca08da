"""Google's real launcher, in an environment of its own, creates the custom job of a step, which the stand-in executes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.google_identity import Google
from fakes.vertex import Vertex, vertex_ai
from fakes.vertex.grpc_jobs import grpc_jobs
from kedro.pipeline import Node
from plans import planned, same
from running import BIN, ROOT, SOURCE, environment, run

from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.settings.models import RunConfig

pytestmark = pytest.mark.slow

IMAGE = RunConfig(image="x").launcher_image
# What the image has by that version.
ENVIRONMENT = ROOT / "build" / f"launcher-{IMAGE.rpartition(':')[2]}"
HOST = "europe-west1-aiplatform.googleapis.com"
# Instead of the step's own module: read the arguments as that does, tell what was read, and end as a parameter says.
WORKER = """
import json, os, sys, time
from vertexai_mlflow.contract.arguments import parse_arguments
told, given, platform = parse_arguments()
print(json.dumps([list(told.nodes), told.reads, platform.job_name, os.environ["MODE"]]), flush=True)
how = given["inputs"]["parameterValues"]["params"]["how"]
time.sleep(60 if how == "sleep" else 0)
with open(given["outputs"]["outputFile"], "w") as file:
    json.dump({"parameterValues": given["inputs"]["parameterValues"]}, file)
sys.exit(3 if how == "fail" else 0)
"""


@pytest.fixture(scope="session")
def launcher() -> Path:
    """The Python of an environment with Google's launcher, which needs another version of Google's library than ours."""
    python = ENVIRONMENT / "bin/python"
    if not (ENVIRONMENT / "done").exists():
        version = ENVIRONMENT.name.removeprefix("launcher-")
        for arguments in (
            ["venv", "--quiet", "--clear", "--python", BIN / "python", ENVIRONMENT],
            ["pip", "install", "--quiet", "--python", python, f"google-cloud-pipeline-components=={version}"],
        ):
            done = run(BIN / "uv", *arguments, cwd=ROOT, timeout=600)
            assert done.returncode == 0, done.stderr
        (ENVIRONMENT / "done").touch()
    return python


@pytest.fixture
def vertex(google: Google, tmp_path: Path) -> Iterator[Vertex]:
    variables = environment(PYTHONPATH=str(SOURCE))
    with vertex_ai(
        project="project-42", region="europe-west1", cwd=tmp_path, folder=tmp_path / "jobs", environment=variables
    ) as vertex:
        google.apis[HOST] = lambda _who, method, path, query, body: vertex.answer(method, path, query, body)
        yield vertex


@pytest.fixture
def launch(
    google: Google, vertex: Vertex, launcher: Path, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the task of the step ``train`` as Vertex AI does: placeholders are replaced in the container's arguments."""
    started: list[subprocess.Popen[str]] = []

    with grpc_jobs(vertex, tmp_path) as variables:

        def launch(how: str, **asked: Any) -> subprocess.Popen[str]:
            folder = tmp_path / how
            folder.mkdir(exist_ok=True)
            given = {
                "inputs": {
                    "parameterValues": {"params": {"how": how, "text": 'it\'s "quoted" \\ {{$}}\n and ünïcode'}}
                },
                "outputs": {"outputFile": str(folder / "executor_output.json")},
            }
            container = container_of(asked)
            replaced = {
                "{{$.json_escape[1]}}": json.dumps(json.dumps(given, ensure_ascii=False), ensure_ascii=False)[1:-1],
                "{{$.outputs.parameters['gcp_resources'].output_file}}": str(folder / "outputs/gcp_resources"),
                "{{$.pipeline_google_cloud_project_id}}": "project-42",
                "{{$.pipeline_google_cloud_location}}": "europe-west1",
                "{{$.pipeline_job_name}}": f"job-{how}",
                "{{$.pipeline_service_account}}": "pipeline@project-42.iam.gserviceaccount.com",
            }
            argv = []
            for argument in container["args"]:
                for placeholder, value in replaced.items():
                    argument = argument.replace(placeholder, value)
                argv.append(argument.replace("/tmp/custom_job", str(folder / f"fresh-{len(started)}")))
            labels = json.dumps({"vertex-ai-pipelines-run-billing-id": "123"})
            process = subprocess.Popen(
                [launcher, *container["command"][1:], *argv],
                env=environment(**google.environment, **variables, VERTEX_AI_PIPELINES_RUN_LABELS=labels),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            started.append(process)
            return process

        yield launch
        for process in started:
            process.kill()


def container_of(asked: dict[str, Any]) -> dict[str, Any]:
    """The container of the step's task, whose worker is that of this test."""
    asked = {"spot": True, "env": {"MODE": "fast"}, **asked}
    run_config = RunConfig(image="x", root="gs://bucket/root", labels={"team": "birds"}, resources={"train": asked})
    plan = planned(Node(same, "raw", "model", name="train"), root="gs://bucket/root", resources={"train": asked})
    spec = compile_plan(plan, Launch("demo"), run_config)
    container: dict[str, Any] = spec["deploymentSpec"]["executors"]["exec-train"]["container"]
    index = container["args"].index("--payload") + 1
    job = json.loads(container["args"][index])
    worker = job["job_spec"]["worker_pool_specs"][0]["container_spec"]
    worker["command"] = [sys.executable, "-c", WORKER]
    container["args"][index] = json.dumps(job)
    return container


def job_of(vertex: Vertex, how: str) -> list[dict[str, Any]]:
    return [job for job in vertex.custom_jobs.values() if job["displayName"] == f"job-{how}"]


def wait_for_job(vertex: Vertex, how: str, process: subprocess.Popen[str]) -> None:
    while not any(job["state"] != "JOB_STATE_PENDING" for job in job_of(vertex, how)):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)


BIG = {
    "machine_type": "a2-highgpu-2g",
    "spot": False,
    "max_wait": "30m",
    "boot_disk": {"type": "pd-standard", "size": 300},
    "custom_job": {
        "jobSpec": {
            "scheduling": {"timeout": "864000s"},
            "workerPoolSpecs": [
                {"nfsMounts": [{"server": "10.0.0.1", "path": "/x", "mountPoint": "y"}]},
                {"replicaCount": 2},
            ],
        }
    },
}


def test_a_step_succeeds_fails_and_loses_its_machine_by_googles_own_launcher(launch, vertex, tmp_path):
    vertex.preempted = True
    preempted = launch("sleep")
    wait_for_job(vertex, "sleep", preempted)
    running = {"succeed": launch("succeed", **BIG), "fail": launch("fail")}
    for how in ("succeed", "fail"):
        wait_for_job(vertex, how, running[how])
    (done,) = job_of(vertex, "succeed")
    text = running["succeed"].communicate(timeout=120)[0]
    assert running["succeed"].returncode == 0, text
    assert done["state"] == "JOB_STATE_SUCCEEDED"
    assert done["labels"] == {"team": "birds", "kedro_task": "train", "vertex-ai-pipelines-run-billing-id": "123"}
    spec = done["jobSpec"]
    assert spec["scheduling"] == {"strategy": "FLEX_START", "maxWaitDuration": "1800s", "timeout": "864000s"}
    assert spec["serviceAccount"] == "pipeline@project-42.iam.gserviceaccount.com"
    first, second = spec["workerPoolSpecs"]
    assert first["machineSpec"] == {
        "machineType": "a2-highgpu-2g",
        "acceleratorType": "NVIDIA_TESLA_A100",
        "acceleratorCount": 2,
    }
    assert (first["diskSpec"], second["replicaCount"]) == ({"bootDiskType": "pd-standard", "bootDiskSizeGb": 300}, "2")
    assert first["nfsMounts"] == [{"server": "10.0.0.1", "path": "/x", "mountPoint": "y"}]
    printed = vertex.logs[done["name"].rpartition("/")[2]].read_text()
    assert json.loads(printed) == [["train"], [], "job-succeed", "fast"]
    output = json.loads((tmp_path / "succeed/executor_output.json").read_text())
    assert output["parameterValues"]["params"]["text"] == 'it\'s "quoted" \\ {{$}}\n and ünïcode'
    resources = json.loads((tmp_path / "succeed/outputs/gcp_resources").read_text())["resources"]
    assert resources == [{"resourceType": "CustomJob", "resourceUri": f"https://{HOST}/v1/{done['name']}"}]

    text = running["fail"].communicate(timeout=120)[0]
    assert running["fail"].returncode != 0
    assert "in error state: 5" in text  # JOB_STATE_FAILED
    text = preempted.communicate(timeout=120)[0]
    assert preempted.returncode != 0, text


def test_the_custom_job_is_cancelled_when_vertex_ai_stops_the_launcher(launch, vertex):
    process = launch("sleep", spot=False, machine_type="n2-standard-4")
    wait_for_job(vertex, "sleep", process)
    time.sleep(2)  # until the launcher has looked at it once, it does not listen
    os.kill(process.pid, signal.SIGTERM)
    text = process.communicate(timeout=60)[0]
    (job,) = job_of(vertex, "sleep")
    assert job["state"] == "JOB_STATE_CANCELLED", text


def test_a_further_attempt_starts_another_custom_job_only_without_the_file_of_the_one_before(launch, vertex):
    launch("fail").communicate(timeout=120)
    assert len(job_of(vertex, "fail")) == 1
    further = [launch("fail"), launch("fail", retries=1)]
    for process in further:
        process.communicate(timeout=120)
        assert process.returncode != 0
    assert len(job_of(vertex, "fail")) == 2
