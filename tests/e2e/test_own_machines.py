"""A step with a machine of its own, as its user launches and follows it."""

import json
import re
import subprocess
from pathlib import Path

import mlflow
import pytest
from running import BIN, run
from small_cloud import answers

from vertexai_mlflow.tracking.steps import step_records

pytestmark = pytest.mark.slow

PIPELINE = """
import os

from kedro.pipeline import Node, Pipeline


def load():
    return 2


def train(number):
    print("in mode", os.environ["MODE"], flush=True)
    return number * 21


def report(answer):
    assert answer == 42


def create_pipeline(**_kwargs):
    return Pipeline([
        Node(load, None, "number", name="load"),
        Node(train, "number", "answer", name="train_model"),
        Node(report, "answer", None, name="report"),
    ])
"""
RUN_CONFIG = """
env: {MODE: fast}
persistent_resource: {name: pool, otherwise: on_demand}
resources:
  "train_*": {machine_type: n1-standard-8, gpu_type: NVIDIA_TESLA_T4}
"""
POOL = {
    "state": "RUNNING",
    "resourcePools": [{"id": "pool", "replicaCount": "2", "machineSpec": {"machineType": "n1-standard-8"}}],
    "resourceRuntimeSpec": {"serviceAccountSpec": {"enableCustomServiceAccount": True}},
}


@pytest.fixture
def kedro(google):
    def kedro(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run(BIN / "kedro", "vertexai", "-e", "cloud", *arguments, cwd=project, **google.environment)

    return kedro


def test_a_step_with_a_machine_of_its_own_is_followed_to_its_end(
    with_pipeline, launchable, kedro, iap, vertex, cloud, mlflow_url, request
):
    project = launchable(with_pipeline(PIPELINE, **answers(iap)), RUN_CONFIG)
    vertex.persistent["pool"] = POOL
    cloud.machine_types = {"n1-standard-8": ["europe-west1-b"]}
    cloud.quotas["custom_model_training_nvidia_t4_gpus"] = {"": 1}
    lines = {line["name"]: line for line in json.loads(kedro(project, "doctor", "--format", "json").stdout)}
    assert lines["persistent resource"]["message"].startswith("pool: 2 × n1-standard-8, which are paid for")
    assert lines["machine types"]["message"] == "n1-standard-8 in europe-west1-b"
    assert (
        lines["quotas"]["message"] == "custom_model_training_cpus 8 of 20, custom_model_training_nvidia_t4_gpus 1 of 1"
    )
    assert lines["launcher image"]["doubtful"]
    assert lines["custom jobs"]["ok"]
    done = kedro(project, "run-once", "--wait-for-completion")
    assert done.returncode == 0, done.stdout + done.stderr
    (name,) = re.findall(r"^Job (.+)$", done.stdout, re.MULTILINE)
    assert [asked for asked in vertex.requests if "/v1beta1/" in asked] == [
        f"POST /v1beta1/{vertex.parent}/pipelineJobs"
    ]
    (custom_job,) = vertex.custom_jobs
    status = kedro(project, "status", name).stdout
    assert re.search(r"train-model +│ SUCCEEDED +│ 1 +│ \d* +│ n1-standard-8, 1 × NVIDIA_TESLA_T4", status), status
    (task,) = (
        task
        for task in json.loads(kedro(project, "status", name, "--format", "json").stdout)["tasks"]
        if task["custom_job"]
    )
    assert (task["name"], task["custom_job"]) == ("train-model", custom_job)
    number = custom_job.rpartition("/")[2]
    file = project.parent / "worker.txt"
    file.write_text("from the worker")
    vertex.logs[number] = file
    logs = kedro(project, "logs", name, "--step", "train-model").stdout
    assert "in mode fast" in logs
    assert "train-model: from the worker" in logs
    client = mlflow.MlflowClient(mlflow_url)
    experiment = client.get_experiment_by_name(request.node.originalname).experiment_id
    (mlflow_run,) = client.search_runs([experiment])
    machines = {record.task: record.machine for record in step_records(mlflow_run.data.tags)}
    assert machines["train-model"] == "n1-standard-8, 1 × NVIDIA_TESLA_T4"
