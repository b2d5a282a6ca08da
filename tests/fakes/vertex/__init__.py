"""The Vertex AI API on loopback: pipeline jobs, schedules, metadata contexts, custom jobs, persistent resources.

Requests are read by Google's own messages and refused as the service refuses them; a job that is taken is really
executed, by the project's local executor in a process of its own. ``server.py`` speaks HTTP; ``jobs.py``,
``schedules.py``, ``contexts.py`` and ``custom_jobs.py`` answer for their part of the API; ``runner.py`` is the process of a
job. Jobs and schedules are answered in v1 and in v1beta1, which alone knows persistent resources.
"""

import re
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..google_identity import served
from . import contexts, custom_jobs, jobs, schedules
from .server import Json, Refusal, handler

# Google's words for each reason. The project may also be named by its number.
MESSAGES = {
    "SERVICE_DISABLED": "Vertex AI API has not been used in project {project} before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/aiplatform.googleapis.com/overview?project={project} then retry.",
    "BILLING_DISABLED": "This API method requires billing to be enabled. Please enable billing on project #{project} by visiting "
    "https://console.developers.google.com/billing/enable?project={project} then retry.",
    "USER_PROJECT_DENIED": "Caller does not have required permission to use project {project}. Grant the caller the "
    "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission.",
}

__all__ = ["Refusal", "Vertex", "vertex_ai"]


@dataclass
class Vertex:
    """What the service has been told, and how it behaves; a test reads the former and changes the latter.

    Args:
        project, region: the only ones that there are.
        number: the project's number, which is in the name of its default account.
        cwd: working directory of the tasks: the project that the image would have in it.
        folder: where jobs keep their logs and artifacts.
        environment: environment variables of the tasks.
        token: the access token that is taken.
        failures: HTTP statuses to answer the next requests with; 0 drops the connection, -1 does so after the work, -2
            after seconds of silence.
        silence: how many seconds.
        denied: permissions that the caller lacks.
        refusal: what every new job is refused with.
        setback: why every new job fails before it has a task.
        enabled: whether the API is switched on.
        others: another project that a login may name as its quota project → the reason why Google refuses it.
        quota_projects: those that were named.
        execute: whether jobs run at all; they stay pending if not.
        lists_labels: whether a list of schedules has the labels of the jobs that they launch.
        quota: how many CPUs the tasks may have at once, 4 at least for each; None is for more than they need.
        own_disks: whether tasks share no disk, and artifacts are in the bucket, for which the environment variables of the
            tasks name a stand-in.
        mount: if given, tasks run in containers of their images, which see this folder.
        inside: environment variables of these containers.
        requests: method and path of all requests.
        jobs, schedules, contexts: by resource name.
        logs: what a custom job printed, by its number.
        custom_jobs: by resource name; those that something else than a pipeline has created are executed, too.
        preempted: whether the next custom job loses its machine.
        persistent: id of a persistent resource → what it is.
    """

    project: str
    region: str
    cwd: Path
    folder: Path
    environment: Mapping[str, str]
    token: str = "ambient-access-token"
    failures: list[int] = field(default_factory=list)
    silence: float = 0.0
    denied: set[str] = field(default_factory=set)
    refusal: Refusal | None = None
    setback: str = ""
    number: str = "123456789012"
    enabled: bool = True
    others: dict[str, str] = field(default_factory=dict)
    quota_projects: set[str] = field(default_factory=set)
    execute: bool = True
    lists_labels: bool = True
    quota: int | None = None
    own_disks: bool = False
    mount: Path | None = None
    inside: Mapping[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    jobs: dict[str, Json] = field(default_factory=dict)
    schedules: dict[str, Json] = field(default_factory=dict)
    contexts: dict[str, Json] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)
    custom_jobs: dict[str, Json] = field(default_factory=dict)
    preempted: bool = False
    persistent: dict[str, Json] = field(default_factory=dict)
    url: str = ""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.threads: list[threading.Thread] = []

    @property
    def parent(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Json) -> Json:
        """One request, as the REST API's reference has it."""
        match = re.fullmatch(r"/(v1|v1beta1)/(projects/[^/]+/locations/[^/]+)/(.+)", path)
        if not match:
            raise Refusal(404, f"no such method: {path}")
        if match[2] != self.parent:
            raise Refusal(403, f"Permission denied on resource project {match[2]} (or it may not exist).")
        rest, _, verb = match[3].partition(":")
        kind, *names = rest.split("/")
        with self.lock:
            if kind == "pipelineJobs":
                return jobs.in_version(match[1], jobs.answer(self, method, names, verb, query, body, match[1]))
            if kind == "schedules":
                return jobs.in_version(match[1], schedules.answer(self, method, names, verb, query, body, match[1]))
            if kind == "customJobs":
                return custom_jobs.answer(self, method, names, verb, query, body)
            if kind == "persistentResources":
                self.allow("aiplatform.persistentResources.get")
                if names[0] not in self.persistent:
                    raise Refusal(404, f"The PersistentResource does not exist: {names[0]}")
                return {"name": f"{self.parent}/persistentResources/{names[0]}", **self.persistent[names[0]]}
            if kind == "metadataStores":
                return contexts.answer(self, method, names[2:], verb, query, body)
        raise Refusal(404, f"no such method: {method} {path}")

    def count(self, quota_project: str | None) -> None:
        """Refuse the request for the sake of the project that it counts against.

        That is the one in the header ``x-goog-user-project``, if there is one. https://docs.cloud.google.com/docs/quotas/quota-project
        """
        counted = quota_project or self.project
        self.quota_projects.add(counted)
        reason = self.others.get(counted, "") if self.enabled or counted != self.project else "SERVICE_DISABLED"
        if reason:
            raise Refusal(403, MESSAGES[reason].format(project=counted), reason)

    def stop(self) -> None:
        """Cancel what still runs."""
        for name in list(self.processes):
            jobs.cancel(self, name)
        for name in list(self.custom_jobs):
            custom_jobs.cancel(self, name)
        for thread in self.threads:
            thread.join(30)

    def allow(self, permission: str) -> None:
        """Refuse the request if the caller lacks this permission."""
        if permission in self.denied:
            raise Refusal(
                403,
                reason="IAM_PERMISSION_DENIED",
                message=f"Permission '{permission}' denied on resource '//aiplatform.googleapis.com/{self.parent}' (or it may not exist).",
            )


@contextmanager
def vertex_ai(
    *, project: str, region: str, cwd: Path, folder: Path, environment: Mapping[str, str]
) -> Iterator[Vertex]:
    """Run the stand-in; its ``url`` is the API's endpoint."""
    vertex = Vertex(project, region, cwd, folder, environment)
    with served(handler(vertex)) as address:
        vertex.url = f"http://{address}"
        try:
            yield vertex
        finally:
            vertex.stop()
