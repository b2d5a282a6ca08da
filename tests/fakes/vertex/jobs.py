"""Pipeline jobs: which ones the service takes, and what becomes of them."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.cloud.aiplatform_v1 import types
from google.cloud.aiplatform_v1beta1 import types as beta_types
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from . import custom_jobs
from .server import NUMBER, Json, Refusal, now, parse

if TYPE_CHECKING:
    from . import Vertex

_RUNNER = Path(__file__).with_name("runner.py")
# Bytes of an artifact's metadata.
_MAX_METADATA = 200 * 1024
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")


# The messages of each version of the API.
TYPES = {"v1": types, "v1beta1": beta_types}


def answer(
    vertex: "Vertex",
    method: str,
    names: list[str],
    verb: str,
    query: Mapping[str, str],
    body: Json,
    version: str = "v1",
) -> Json:
    if method == "POST" and not names:
        vertex.allow("aiplatform.pipelineJobs.create")
        return _create(vertex, query.get("pipelineJobId", ""), body, version)
    if method == "GET" and not names:
        vertex.allow("aiplatform.pipelineJobs.list")
        return _listed(vertex, query)
    name = f"{vertex.parent}/pipelineJobs/{names[0]}"
    if name not in vertex.jobs:
        raise Refusal(404, f"The PipelineJob does not exist: {name}")
    if method == "POST" and verb == "cancel":
        vertex.allow("aiplatform.pipelineJobs.cancel")
        if vertex.jobs[name]["state"] in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"):
            vertex.jobs[name]["state"] = "PIPELINE_STATE_CANCELLING"
            cancel(vertex, name)
        return {}
    if method == "DELETE":
        vertex.allow("aiplatform.pipelineJobs.delete")
        if vertex.jobs[name]["state"] in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"):
            raise Refusal(400, f"The PipelineJob is still running: {name}")
        del vertex.jobs[name]
        return {
            "name": f"{vertex.parent}/operations/{next(NUMBER)}", "done": True,
            "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
        }  # fmt: skip
    vertex.allow("aiplatform.pipelineJobs.get")
    return vertex.jobs[name]


def in_version(version: str, content: Any) -> Any:
    """An answer as a version of the API gives it: v1 has no field for what runs a job's tasks by default."""
    if isinstance(content, dict):
        left_out = "defaultRuntime" if version == "v1" else ""
        return {key: in_version(version, value) for key, value in content.items() if key != left_out}
    return [in_version(version, item) for item in content] if isinstance(content, list) else content


def _create(vertex: "Vertex", job_id: str, body: Json, version: str) -> Json:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,126}", job_id):
        raise Refusal(400, f"pipeline_job_id '{job_id}' must match [a-z][-a-z0-9]{{0,126}}")
    name = f"{vertex.parent}/pipelineJobs/{job_id}"
    if name in vertex.jobs:
        raise Refusal(409, f"The PipelineJob already exists: {name}")
    job = checked(vertex, body, version)
    if vertex.refusal:
        raise vertex.refusal
    if body.get("serviceAccount") and "iam.serviceAccounts.actAs" in vertex.denied:
        raise Refusal(
            400,
            f"You do not have permission to act as service_account: {job['serviceAccount']}. (or it may not exist).",
        )
    job |= {"name": name, "state": "PIPELINE_STATE_PENDING", "createTime": now(), "jobDetail": {}}
    vertex.jobs[name] = job
    if vertex.setback:  # it is taken, and fails before there is any task
        error = {"code": 7, "message": f"Failed to create pipeline job. Error: {vertex.setback}"}
        job |= {"state": "PIPELINE_STATE_FAILED", "endTime": now(), "error": error}
    elif vertex.execute:
        thread = threading.Thread(target=_run, args=(vertex, name), daemon=True)
        vertex.threads.append(thread)
        thread.start()
    return job


def checked(vertex: "Vertex", body: Json, version: str) -> Json:
    """The job of a request, if the service would take it; a schedule's job is asked about as well."""
    message = TYPES[version].PipelineJob.pb()()
    parse(body, message)
    runtime = body.get("runtimeConfig", {}).get("defaultRuntime", {}).get("persistentResourceRuntimeDetail", {})
    if runtime and runtime["persistentResourceName"].removeprefix(f"{vertex.parent}/persistentResources/") not in (
        vertex.persistent
    ):
        raise Refusal(400, f"The persistent resource does not exist: {runtime['persistentResourceName']}")
    root = message.runtime_config.gcs_output_directory
    if not root.startswith("gs://"):
        raise Refusal(400, f"runtime_config.gcs_output_directory '{root}' is not a Cloud Storage path")
    for key, value in message.labels.items():
        if not _LABEL.fullmatch(f"{key}={value}"):
            raise Refusal(400, f"label {key}: {value} is not valid")
    if message.network and not re.fullmatch(r"projects/\d+/global/networks/[a-z0-9-]+", message.network):
        raise Refusal(400, f"network '{message.network}' must be projects/<number>/global/networks/<name>")
    if message.network and message.psc_interface_config.network_attachment:
        raise Refusal(400, "network and psc_interface_config cannot both be set")
    if message.reserved_ip_ranges and not message.network:
        raise Refusal(400, "reserved_ip_ranges requires network")
    key_name = message.encryption_spec.kms_key_name
    if key_name and not key_name.startswith(f"projects/{vertex.project}/locations/{vertex.region}/keyRings/"):
        raise Refusal(400, f"The key must be in region {vertex.region}: {key_name}")
    spec = json_format.MessageToDict(message.pipeline_spec)
    parse(spec, pipeline_spec_pb2.PipelineSpec())
    for executor in spec["deploymentSpec"].get("executors", {}).values():
        memory = executor.get("container", {}).get("resources", {}).get("resourceMemoryLimit", "1G")
        if not re.fullmatch(r"\d+(\.\d+)?[GM]", memory):
            raise Refusal(400, f"memory limit '{memory}' is not a number with the suffix G or M")
    known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    for parameter in message.runtime_config.parameter_values:
        if parameter not in known:
            raise Refusal(400, f"'{parameter}' is not an input of the pipeline")
    # What a request leaves out is shown with what counts in its place.
    message.service_account = message.service_account or f"{vertex.number}-compute@developer.gserviceaccount.com"
    return json_format.MessageToDict(message)


def _listed(vertex: "Vertex", query: Mapping[str, str]) -> Json:
    wanted = dict(re.findall(r'labels\.([a-z0-9_-]+)="([^"]*)"', query.get("filter", "")))
    matching = [job for job in vertex.jobs.values() if wanted.items() <= job.get("labels", {}).items()]
    if query.get("orderBy") == "create_time desc":
        matching = matching[::-1]
    # No job detail in a list, whatever the mask says.
    paths = [re.sub("_([a-z])", lambda m: m[1].upper(), path) for path in query["readMask"].split(",")]
    size, start = int(query.get("pageSize", 50)), int(query.get("pageToken") or 0)
    page = [{key: job[key] for key in paths if key in job} for job in matching[start : start + size]]
    more = {"nextPageToken": str(start + size)} if start + size < len(matching) else {}
    return {"pipelineJobs": page, **more}


def _run(vertex: "Vertex", name: str) -> None:
    """Execute a job and write down what its process says of the tasks."""
    job = vertex.jobs[name]
    values = job.get("runtimeConfig", {}).get("parameterValues", {})
    job_id = name.rpartition("/")[2]
    order = {
        "spec": job["pipelineSpec"], "parameters": values, "folder": str(vertex.folder), "cwd": str(vertex.cwd),
        "name": job_id, "resource_name": name, "created": job["createTime"],
        "bucket": job["runtimeConfig"]["gcsOutputDirectory"] if vertex.own_disks else "",
        "quota": vertex.quota,
        "fail_fast": job.get("runtimeConfig", {}).get("failurePolicy") == "PIPELINE_FAILURE_POLICY_FAIL_FAST",
        "containers": {"mount": str(vertex.mount), "environment": dict(vertex.inside)} if vertex.mount else None,
    }  # fmt: skip
    # In the image the package is installed.
    environment = {**vertex.environment, "PYTHONPATH": str(vertex.cwd / "src")}
    process = subprocess.Popen(
        [sys.executable, _RUNNER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(order))
    process.stdin.close()
    with vertex.lock:
        vertex.processes[name] = process
        job["startTime"] = now()
        if job["state"] == "PIPELINE_STATE_PENDING":
            job["state"] = "PIPELINE_STATE_RUNNING"
        # A pipeline has a context of its name, in the same store as experiments.
        pipeline = f"{vertex.parent}/metadataStores/default/contexts/{job['pipelineSpec']['pipelineInfo']['name']}"
        vertex.contexts.setdefault(pipeline, {"name": pipeline, "schemaTitle": "system.Pipeline"})
        job["jobDetail"] = {
            "pipelineRunContext": {"name": f"{vertex.parent}/metadataStores/default/contexts/{job_id}"},
            "taskDetails": list(_graphs(job_id, job["pipelineSpec"])),
        }
    state = "FAILED"
    for line in process.stdout:
        event = json.loads(line)
        if "job" in event:
            state = event["job"]
            continue
        with vertex.lock:
            _note(vertex, job, event)
    process.wait()
    with vertex.lock:
        del vertex.processes[name]
        if job["state"] == "PIPELINE_STATE_CANCELLING":
            state = "CANCELLED"
        if state == "SUCCEEDED" and any(task["state"] == "FAILED" for task in job["jobDetail"]["taskDetails"]):
            state = "FAILED"
        for graph in (task for task in job["jobDetail"]["taskDetails"] if task["state"] == "RUNNING"):
            graph |= {"state": state, "endTime": now()}
        if state == "FAILED":
            # The job tells of the tasks of its outermost graph only, which may be graphs themselves.
            outer = {task.get("taskInfo", {}).get("name", key) for key, task in _outer(job["pipelineSpec"]).items()}
            failed = [
                task["taskName"]
                for task in job["jobDetail"]["taskDetails"]
                if task["state"] == "FAILED" and task["taskName"] in outer
            ]
            message = f"The DAG failed because some tasks failed. The failed tasks are: [{', '.join(failed)}]."
            job["error"] = {"code": 9, "message": f"{message}; Job (project_id = {vertex.project}) is failed."}
        job |= {"state": f"PIPELINE_STATE_{state}", "endTime": now()}


def _outer(spec: Json) -> Json:
    return spec["root"]["dag"]["tasks"]


def _displayed(spec: Json) -> dict[str, str]:
    """Key of a task in any graph → the name that people see."""
    graphs = [spec["root"], *spec["components"].values()]
    tasks = [item for graph in graphs for item in graph.get("dag", {}).get("tasks", {}).items()]
    return {key: task.get("taskInfo", {}).get("name", key) for key, task in tasks}


def _graphs(job_id: str, spec: Json) -> Iterator[Json]:
    """The job and the graphs in it, which are listed among the tasks, by the names that people see."""
    yield {"taskId": "1", "taskName": job_id, "state": "RUNNING"}
    for number, (key, task) in enumerate(_outer(spec).items(), start=2):
        if "dag" in spec["components"][task["componentRef"]["name"]]:
            yield {"taskId": str(number), "parentTaskId": "1", "taskName": _displayed(spec)[key], "state": "RUNNING"}


def _note(vertex: "Vertex", job: Json, event: Json) -> None:
    details = job["jobDetail"]["taskDetails"]
    shown = _displayed(job["pipelineSpec"])[event["name"]]
    task = next((item for item in details if item["taskName"] == shown), None)
    if task is None:
        task = {"taskId": str(next(NUMBER)), "taskName": shown, "createTime": now()}
        # A task of the outermost graph need not name the job as its parent.
        if event["name"] not in _outer(job["pipelineSpec"]):
            task["parentTaskId"] = next(item["taskId"] for item in details if item.get("parentTaskId") == "1")
        details.append(task)
    if event["attempt"]:
        container = task.setdefault("executorDetail", {}).setdefault("containerDetail", {})
        attempts = container.get("failedMainJobs", [])
        if "mainJob" in container and len(attempts) + 1 < event["attempt"]:
            container["failedMainJobs"] = [*attempts, container.pop("mainJob")]
        container.setdefault("mainJob", f"projects/1234567/locations/{vertex.region}/customJobs/{next(NUMBER)}")
        vertex.logs[container["mainJob"].rpartition("/")[2]] = Path(event["log"])
        custom_jobs.note(vertex, job, event)
    if event["state"] == "RUNNING":
        task["startTime"] = now()
    else:
        task["endTime"] = now()
    if event["error"]:
        task["error"] = {"code": 9, "message": event["error"]}
    task["state"] = event["state"]
    task.setdefault("pipelineTaskStatus", []).append({"updateTime": now(), "state": event["state"]})
    made = (event["outputs"] or {}).get("artifacts", {})
    task["outputs"] = {key: {"artifacts": [_artifact(vertex, key, artifact)]} for key, artifact in made.items()}
    for key, artifact in made.items():
        # https://docs.cloud.google.com/vertex-ai/docs/ml-metadata/quotas
        if (size := len(json.dumps(artifact.get("metadata", {})))) > _MAX_METADATA:
            message = (
                f"INVALID_ARGUMENT: The metadata of artifact {key} has {size} bytes, and {_MAX_METADATA} are allowed."
            )
            task |= {"state": "FAILED", "error": {"code": 3, "message": message}}
    outputs = (event["outputs"] or {}).get("parameters", {})
    task["execution"] = {"metadata": {f"output:{key}": value for key, value in outputs.items()}}


def _artifact(vertex: "Vertex", key: str, artifact: Json) -> Json:
    """A task's artifact as a resource of the metadata store, which is what the API lists."""
    name = f"{vertex.parent}/metadataStores/default/artifacts/{next(NUMBER)}"
    about = {"name": name, "displayName": key, "uri": artifact["uri"], "metadata": artifact.get("metadata", {})}
    parse(about, types.Artifact.pb()())
    return about


def cancel(vertex: "Vertex", name: str) -> None:
    """Stop a job and its exit task too: after a cancellation Vertex AI need not run it."""

    def insist() -> None:
        while (process := vertex.processes.get(name)) and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            threading.Event().wait(0.2)

    thread = threading.Thread(target=insist, daemon=True)
    vertex.threads.append(thread)
    thread.start()
