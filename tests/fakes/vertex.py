"""The Vertex AI API on loopback: pipeline jobs, schedules, metadata contexts.

Requests are read by Google's own messages and refused as the service refuses them; a job that is taken is really
executed, by the project's local executor in a process of its own (``vertex_job.py``).
"""

import itertools
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from .google_identity import JsonHandler, served

Json = dict[str, Any]
_RUNNER = Path(__file__).with_name("vertex_job.py")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}")
_NUMBER = itertools.count(4_000_000_000)


class Refusal(Exception):
    """An HTTP status and Google's words for it."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason


@dataclass
class Vertex:
    """What the service has been told, and how it behaves; a test reads the former and changes the latter.

    Args:
        project, region: the only ones that there are.
        cwd: working directory of the tasks: the project that the image would have in it.
        folder: where jobs keep their logs and artifacts.
        environment: environment variables of the tasks.
        token: the access token that is taken.
        failures: HTTP statuses to answer the next requests with; 0 drops the connection, -1 does so after the work.
        denied: permissions that the caller lacks.
        enabled: whether the API is switched on.
        execute: whether jobs run at all; they stay pending if not.
        mount: if given, tasks run in containers of their images, which see this folder.
        inside: environment variables of these containers.
        requests: method and path of all requests.
        jobs, schedules, contexts: by resource name.
        logs: what a custom job printed, by its number.
    """

    project: str
    region: str
    cwd: Path
    folder: Path
    environment: Mapping[str, str]
    token: str = "ambient-access-token"
    failures: list[int] = field(default_factory=list)
    denied: set[str] = field(default_factory=set)
    enabled: bool = True
    execute: bool = True
    mount: Path | None = None
    inside: Mapping[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    jobs: dict[str, Json] = field(default_factory=dict)
    schedules: dict[str, Json] = field(default_factory=dict)
    contexts: dict[str, Json] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._threads: list[threading.Thread] = []

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Json) -> Json:
        """One request, as the REST API's reference has it."""
        if not self.enabled:
            message = f"Vertex AI API has not been used in project {self.project} before or it is disabled."
            raise Refusal(403, message, "SERVICE_DISABLED")
        match = re.fullmatch(r"/v1/(projects/[^/]+/locations/[^/]+)/(.+)", path)
        if not match:
            raise Refusal(404, f"no such method: {path}")
        if match[1] != self.parent:
            raise Refusal(403, f"Permission denied on resource project {match[1]} (or it may not exist).")
        rest, _, verb = match[2].partition(":")
        kind, *names = rest.split("/")
        with self._lock:
            if kind == "pipelineJobs":
                return self._pipeline_jobs(method, names, verb, query, body)
            if kind == "schedules":
                return self._schedules(method, names, verb, query, body)
            if kind == "metadataStores":
                return self._contexts(method, names[2:], verb, query, body)
        raise Refusal(404, f"no such method: {method} {path}")

    def stop(self) -> None:
        """Cancel what still runs."""
        for name in list(self._processes):
            self._cancel(name)
        for thread in self._threads:
            thread.join(30)

    # Pipeline jobs

    def _pipeline_jobs(self, method: str, names: list[str], verb: str, query: Mapping[str, str], body: Json) -> Json:
        if method == "POST" and not names:
            self._allow("aiplatform.pipelineJobs.create")
            return self._create_job(query.get("pipelineJobId", ""), body)
        if method == "GET" and not names:
            self._allow("aiplatform.pipelineJobs.list")
            return self._list_jobs(query)
        name = f"{self.parent}/pipelineJobs/{names[0]}"
        if name not in self.jobs:
            raise Refusal(404, f"The PipelineJob does not exist: {name}")
        if method == "POST" and verb == "cancel":
            self._allow("aiplatform.pipelineJobs.cancel")
            if self.jobs[name]["state"] in ("PIPELINE_STATE_PENDING", "PIPELINE_STATE_RUNNING"):
                self.jobs[name]["state"] = "PIPELINE_STATE_CANCELLING"
                self._cancel(name)
            return {}
        self._allow("aiplatform.pipelineJobs.get")
        return self.jobs[name]

    def _create_job(self, job_id: str, body: Json) -> Json:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,126}", job_id):
            raise Refusal(400, f"pipeline_job_id '{job_id}' must match [a-z][-a-z0-9]{{0,126}}")
        name = f"{self.parent}/pipelineJobs/{job_id}"
        if name in self.jobs:
            raise Refusal(409, f"The PipelineJob already exists: {name}")
        job = self._checked_job(body)
        if job.get("serviceAccount") and "iam.serviceAccounts.actAs" in self.denied:
            raise Refusal(
                403,
                f"You do not have permission to act as service account: {job['serviceAccount']} (iam.serviceAccounts.actAs).",
            )
        job |= {"name": name, "state": "PIPELINE_STATE_PENDING", "createTime": now(), "jobDetail": {}}
        self.jobs[name] = job
        if self.execute:
            thread = threading.Thread(target=self._run, args=(name,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return job

    def _checked_job(self, body: Json) -> Json:
        message = types.PipelineJob.pb()()
        parse(body, message)
        root = message.runtime_config.gcs_output_directory
        if not root.startswith("gs://"):
            raise Refusal(400, f"runtime_config.gcs_output_directory '{root}' is not a Cloud Storage path")
        for key, value in message.labels.items():
            if not _LABEL.fullmatch(f"{key}={value}"):
                raise Refusal(400, f"label {key}: {value} is not valid")
        if message.network and not re.fullmatch(r"projects/\d+/global/networks/[a-z0-9-]+", message.network):
            raise Refusal(400, f"network '{message.network}' must be projects/<number>/global/networks/<name>")
        key_name = message.encryption_spec.kms_key_name
        if key_name and not key_name.startswith(f"projects/{self.project}/locations/{self.region}/keyRings/"):
            raise Refusal(400, f"The key must be in region {self.region}: {key_name}")
        spec = json_format.MessageToDict(message.pipeline_spec)
        parse(spec, pipeline_spec_pb2.PipelineSpec())
        known = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        for parameter in message.runtime_config.parameter_values:
            if parameter not in known:
                raise Refusal(400, f"'{parameter}' is not an input of the pipeline")
        return json_format.MessageToDict(message)

    def _list_jobs(self, query: Mapping[str, str]) -> Json:
        wanted = dict(re.findall(r'labels\.([a-z0-9_-]+)="([^"]*)"', query.get("filter", "")))
        found = [job for job in self.jobs.values() if wanted.items() <= job.get("labels", {}).items()]
        if query.get("orderBy") == "create_time desc":
            found = found[::-1]
        # No job detail in a list, whatever the mask says.
        paths = [re.sub("_([a-z])", lambda m: m[1].upper(), path) for path in query["readMask"].split(",")]
        size, start = int(query.get("pageSize", 50)), int(query.get("pageToken") or 0)
        page = [{key: job[key] for key in paths if key in job} for job in found[start : start + size]]
        more = {"nextPageToken": str(start + size)} if start + size < len(found) else {}
        return {"pipelineJobs": page, **more}

    def _run(self, name: str) -> None:
        """Execute a job and write down what its process says of the tasks."""
        job = self.jobs[name]
        values = job.get("runtimeConfig", {}).get("parameterValues", {})
        job_id = name.rpartition("/")[2]
        order = {
            "spec": job["pipelineSpec"], "parameters": values, "folder": str(self.folder), "cwd": str(self.cwd),
            "name": job_id, "resource_name": name,
            "containers": {"mount": str(self.mount), "environment": dict(self.inside)} if self.mount else None,
        }  # fmt: skip
        # In the image the package is installed.
        environment = {**self.environment, "PYTHONPATH": str(self.cwd / "src")}
        process = subprocess.Popen(
            [sys.executable, _RUNNER], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        with self._lock:
            self._processes[name] = process
            job["startTime"] = now()
            if job["state"] == "PIPELINE_STATE_PENDING":
                job["state"] = "PIPELINE_STATE_RUNNING"
            job["jobDetail"] = {
                "pipelineRunContext": {"name": f"{self.parent}/metadataStores/default/contexts/{job_id}"},
                "taskDetails": list(self._graphs(job_id)),
            }
        state = "FAILED"
        for line in process.stdout:
            said = json.loads(line)
            if "job" in said:
                state = said["job"]
                continue
            with self._lock:
                self._note(job, said)
        process.wait()
        with self._lock:
            del self._processes[name]
            if job["state"] == "PIPELINE_STATE_CANCELLING":
                state = "CANCELLED"
            failed = [task["taskName"] for task in job["jobDetail"]["taskDetails"] if task["state"] == "FAILED"]
            if state == "FAILED":
                message = f"The DAG failed because some tasks failed. The failed tasks are: [{', '.join(failed)}]."
                job["error"] = {"code": 9, "message": message}
            job |= {"state": f"PIPELINE_STATE_{state}", "endTime": now()}

    def _graphs(self, job_id: str) -> Iterator[Json]:
        """The job and its exit handler, which are listed among the tasks."""
        yield {"taskId": "1", "taskName": job_id, "state": "RUNNING"}
        yield {"taskId": "2", "parentTaskId": "1", "taskName": "exit-handler-1", "state": "RUNNING"}

    def _note(self, job: Json, said: Json) -> None:
        details = job["jobDetail"]["taskDetails"]
        task = next((item for item in details if item["taskName"] == said["name"]), None)
        if task is None:
            task = {
                "taskId": str(next(_NUMBER)), "taskName": said["name"], "createTime": now(),
                "parentTaskId": "1" if said["name"] == "mlflow-finish-run" else "2",
            }  # fmt: skip
            details.append(task)
        if said["attempt"]:
            container = task.setdefault("executorDetail", {}).setdefault("containerDetail", {})
            attempts = container.get("failedMainJobs", [])
            if "mainJob" in container and len(attempts) + 1 < said["attempt"]:
                container["failedMainJobs"] = [*attempts, container.pop("mainJob")]
            container.setdefault("mainJob", f"projects/1234567/locations/{self.region}/customJobs/{next(_NUMBER)}")
            self.logs[container["mainJob"].rpartition("/")[2]] = Path(said["log"])
        if said["state"] == "RUNNING":
            task["startTime"] = now()
        else:
            task["endTime"] = now()
        if said["error"]:
            task["error"] = {"code": 9, "message": said["error"]}
        task["state"] = said["state"]
        outputs = (said["outputs"] or {}).get("parameters", {})
        task["execution"] = {"metadata": {f"output:{key}": value for key, value in outputs.items()}}

    def _cancel(self, name: str) -> None:
        """Stop a job and its exit task too: after a cancellation Vertex AI need not run it."""

        def insist() -> None:
            while (process := self._processes.get(name)) and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                threading.Event().wait(0.2)

        thread = threading.Thread(target=insist, daemon=True)
        self._threads.append(thread)
        thread.start()

    # Schedules

    def _schedules(self, method: str, names: list[str], verb: str, query: Mapping[str, str], body: Json) -> Json:
        if method == "GET" and not names:
            self._allow("aiplatform.schedules.list")
            return {"schedules": list(self.schedules.values())}
        if method == "POST" and not names:
            self._allow("aiplatform.schedules.create")
            schedule = self._checked_schedule(body)
            name = f"{self.parent}/schedules/{next(_NUMBER)}"
            self.schedules[name] = {
                **schedule,
                "name": name,
                "state": "ACTIVE",
                "createTime": now(),
                "updateTime": now(),
            }
            return self.schedules[name]
        name = f"{self.parent}/schedules/{names[0]}"
        if name not in self.schedules:
            raise Refusal(404, f"The Schedule does not exist: {name}")
        there = self.schedules[name]
        if method == "POST":
            self._allow("aiplatform.schedules.update")
            there["state"] = {"pause": "PAUSED", "resume": "ACTIVE"}[verb]
            return {}
        if method == "DELETE":
            self._allow("aiplatform.schedules.delete")
            del self.schedules[name]
            return {
                "name": f"{self.parent}/operations/{next(_NUMBER)}",
                "done": True,
                "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
            }
        self._allow("aiplatform.schedules.update")
        if there["state"] == "COMPLETED":
            raise Refusal(400, "A completed schedule cannot be updated")
        schedule = self._checked_schedule(body)
        for path in query["updateMask"].split(","):
            if path not in schedule:
                raise Refusal(400, f"{path}: a field that is set cannot be unset")
            there[path] = schedule[path]
        there["updateTime"] = now()
        return there

    def _checked_schedule(self, body: Json) -> Json:
        message = types.Schedule.pb()()
        parse(body, message)
        if not message.display_name or not message.cron or message.max_concurrent_run_count < 1:
            raise Refusal(400, "display_name, cron and max_concurrent_run_count are required")
        if not re.fullmatch(r"((CRON_)?TZ=\S+ )?\S+( \S+){4}", message.cron):
            raise Refusal(400, f"cron '{message.cron}' is not valid")
        if message.create_pipeline_job_request.parent != self.parent:
            raise Refusal(400, "create_pipeline_job_request.parent is not the schedule's")
        self._checked_job(body["createPipelineJobRequest"]["pipelineJob"])
        return json_format.MessageToDict(message)

    # Metadata

    def _contexts(self, method: str, names: list[str], verb: str, query: Mapping[str, str], body: Json) -> Json:
        if method == "POST" and not names:
            self._allow("aiplatform.contexts.create")
            if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", query["contextId"]):
                raise Refusal(400, f"context_id '{query['contextId']}' is not valid")
            parse(body, types.Context.pb()())
            name = f"{self.parent}/metadataStores/default/contexts/{query['contextId']}"
            self.contexts[name] = {**body, "name": name, "etag": str(next(_NUMBER))}
            return self.contexts[name]
        name = f"{self.parent}/metadataStores/default/contexts/{names[0]}"
        if name not in self.contexts:
            raise Refusal(404, f"The Context does not exist: {name}")
        if verb == "addContextChildren":
            self._allow("aiplatform.contexts.addContextArtifactsAndExecutions")
            self.contexts[name].setdefault("children", []).extend(body["childContexts"])
            return {}
        return self.contexts[name]

    def _allow(self, permission: str) -> None:
        if permission in self.denied:
            raise Refusal(
                403,
                f"Permission '{permission}' denied on resource '//aiplatform.googleapis.com/{self.parent}' (or it may not exist).",
            )


def parse(body: Json, message: Any) -> None:
    """Read JSON as the service does: a field that is not in the message is an error."""
    try:
        json_format.ParseDict(body, message)
    except json_format.ParseError as error:
        raise Refusal(400, f"Invalid JSON payload received. {error}") from None


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def vertex_ai(
    *, project: str, region: str, cwd: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[Vertex]:
    """Run the stand-in; its ``url`` is the API's endpoint."""
    vertex = Vertex(project, region, cwd, folder, environment)
    lock = threading.Lock()

    class Handler(JsonHandler):
        def handle_any(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                vertex.requests.append(f"{self.command} {url.path}")
                failure = vertex.failures.pop(0) if vertex.failures else None
            if failure == 0:
                self.close_connection = True
                return
            try:
                if failure is not None and failure > 0:
                    raise Refusal(failure, "the stand-in was told to fail")
                if self.headers["Authorization"] != f"Bearer {vertex.token}":
                    raise Refusal(401, "Request had invalid authentication credentials.")
                query = {key: ",".join(values) for key, values in parse_qs(url.query).items()}
                said = vertex.answer(self.command, url.path, query, json.loads(body or "{}"))
                status = 200
            except Refusal as refusal:
                status = refusal.status
                detail = {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": refusal.reason,
                    "domain": "googleapis.com",
                }
                said = {
                    "error": {"code": status, "message": refusal.message, "details": [detail] if refusal.reason else []}
                }
            if failure == -1:
                self.close_connection = True
                return
            self.answer(status, said)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    with served(Handler) as address:
        vertex.url = f"http://{address}"
        try:
            yield vertex
        finally:
            vertex.stop()
