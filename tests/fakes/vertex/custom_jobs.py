"""Custom jobs: those that steps of a pipeline run as, and those that a launcher creates, which are really executed."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from vertexai_mlflow.contract.custom_job import custom_job_of

from .server import NUMBER, Json, Refusal, now, parse

if TYPE_CHECKING:
    from . import Vertex

_RUNNING = ("JOB_STATE_PENDING", "JOB_STATE_RUNNING")


def answer(vertex: "Vertex", method: str, names: list[str], verb: str, query: Mapping[str, str], body: Json) -> Json:
    if method == "POST" and not names:
        vertex.allow("aiplatform.customJobs.create")
        return _create(vertex, body)
    if method == "GET" and not names:
        vertex.allow("aiplatform.customJobs.list")
        match = re.fullmatch(r'display_name="([^"]*)" AND labels\.(\w+):\*', query.get("filter", ""))
        if not match:
            raise Refusal(400, f"filter {query.get('filter')}")
        matching = [
            job for job in vertex.custom_jobs.values() if job["displayName"] == match[1] and match[2] in job["labels"]
        ]
        return {"customJobs": matching[::-1]}
    name = f"{vertex.parent}/customJobs/{names[0]}"
    if name not in vertex.custom_jobs:
        raise Refusal(404, f"The CustomJob does not exist: {name}")
    if verb == "cancel":
        vertex.allow("aiplatform.customJobs.cancel")
        cancel(vertex, name)
        return {}
    vertex.allow("aiplatform.customJobs.get")
    return vertex.custom_jobs[name]


def note(vertex: "Vertex", job: Json, event: Json) -> None:
    """Keep the custom job of a step, whose state is the task's."""
    executor = job["pipelineSpec"]["deploymentSpec"]["executors"].get(f"exec-{event['name']}", {})
    wanted = custom_job_of(executor.get("container", {}))
    if not wanted:
        return
    job_id = job["name"].rpartition("/")[2]
    label = wanted["labels"]["kedro_task"]
    mine = [
        name
        for name, there in vertex.custom_jobs.items()
        if (there["displayName"], there["labels"]["kedro_task"]) == (job_id, label)
    ]
    if len(mine) < event["attempt"]:
        mine.append(f"{vertex.parent}/customJobs/{next(NUMBER)}")
        vertex.custom_jobs[mine[-1]] = {
            "name": mine[-1], "displayName": job_id, "labels": wanted["labels"], "createTime": now(),
        }  # fmt: skip
    vertex.custom_jobs[mine[-1]]["state"] = f"JOB_STATE_{event['state']}"


def _create(vertex: "Vertex", body: Json) -> Json:
    message = types.CustomJob.pb()()
    parse(body, message)
    spec = message.job_spec
    if not message.display_name or not spec.worker_pool_specs or spec.worker_pool_specs[0].replica_count != 1:
        raise Refusal(400, "display_name and a first worker pool of one replica are required")
    if not all(pool.machine_spec.machine_type and pool.container_spec.image_uri for pool in spec.worker_pool_specs):
        raise Refusal(400, "machine_type and image_uri are required")
    if spec.service_account and "iam.serviceAccounts.actAs" in vertex.denied:
        raise Refusal(
            400, f"You do not have permission to act as service_account: {spec.service_account}. (or it may not exist)."
        )
    name = f"{vertex.parent}/customJobs/{next(NUMBER)}"
    job: Json = {**json_format.MessageToDict(message), "name": name, "state": "JOB_STATE_PENDING", "createTime": now()}
    vertex.custom_jobs[name] = job
    thread = threading.Thread(target=_run, args=(vertex, name), daemon=True)
    vertex.threads.append(thread)
    thread.start()
    return job


def _run(vertex: "Vertex", name: str) -> None:
    """Execute the container of the first worker pool as a process."""
    job = vertex.custom_jobs[name]
    container = job["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]
    variables = {item["name"]: item.get("value", "") for item in container.get("env", [])}
    log = vertex.folder / f"{name.rpartition('/')[2]}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [*container.get("command", []), *container.get("args", [])],
            cwd=vertex.cwd, env={**vertex.environment, **variables}, stdout=printed, stderr=printed, start_new_session=True,
        )  # fmt: skip
    with vertex.lock:
        vertex.logs[name.rpartition("/")[2]] = log
        job |= {"state": "JOB_STATE_RUNNING", "startTime": now()}
        vertex.processes[name] = process
        if vertex.preempted:
            vertex.preempted = False
            os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    with vertex.lock:
        del vertex.processes[name]
        if job["state"] == "JOB_STATE_RUNNING":
            job["state"] = "JOB_STATE_FAILED" if code else "JOB_STATE_SUCCEEDED"
        if job["state"] == "JOB_STATE_FAILED":
            job["error"] = {
                "code": 13 if code < 0 else 3,
                "message": f"The replica workerpool0-0 exited with a non-zero status of {code}.",
            }
        job["endTime"] = now()


def cancel(vertex: "Vertex", name: str) -> None:
    """Stop a custom job."""
    job = vertex.custom_jobs[name]
    if job.get("state") in _RUNNING:
        job["state"] = "JOB_STATE_CANCELLED"
        if process := vertex.processes.get(name):
            os.killpg(process.pid, signal.SIGTERM)
