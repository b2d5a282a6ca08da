"""Google's control plane as far as ``gcloud`` asks it when a project is set up: what there is, and who may do what."""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .google_identity import JsonHandler, Refused, served

NUMBER = "123456789012"
# Which API has a resource, by a part of its path.
OWNERS = {
    "b": "storage", "repositories": "artifactregistry", "serviceAccounts": "iam", "workloadIdentityPools": "iam",
    "roles": "iam", "iap_web": "iap", "secrets": "secretmanager",
}  # fmt: skip
# What Google grants on each new bucket: https://cloud.google.com/storage/docs/access-control/iam-roles#legacy-roles
LEGACY = {
    "roles/storage.legacyBucketOwner": ("projectEditor", "projectOwner"),
    "roles/storage.legacyObjectOwner": ("projectEditor", "projectOwner"),
    "roles/storage.legacyBucketReader": ("projectViewer",),
    "roles/storage.legacyObjectReader": ("projectViewer",),
}
# Those that a custom role may have, as far as Vertex AI's are concerned: roles/aiplatform.user has them all.
PERMISSIONS = [
    f"aiplatform.{kind}.{verb}"
    for kind, verbs in {
        "contexts": "addContextArtifactsAndExecutions addContextChildren create delete get list update",
        "customJobs": "cancel create delete get list",
        "pipelineJobs": "cancel create delete get list",
        "schedules": "create delete get list update",
    }.items()
    for verb in verbs.split()
] + [f"iam.serviceAccounts.{verb}" for verb in ("getOpenIdToken", "signBlob", "signJwt")]
SERVICES = ("ARTIFACTREGISTRY", "CLOUDRESOURCEMANAGER", "IAM", "IAP", "SECRETMANAGER", "SERVICEUSAGE", "STORAGE")


@dataclass
class ControlPlane:
    """A project of Google Cloud; a test reads what has become of it.

    Args:
        project: its id.
        apis: the enabled ones.
        resources: resource name → what there is.
        policies: resource name → its IAM policy.
        changes: requests that changed something: method and path.
        foreign: buckets of others, which the caller may not look at.
        unknown_for: requests for which a new service account is not known yet where roles are granted.
        denied: permission that the caller lacks.
    """

    project: str
    apis: set[str] = field(
        default_factory=lambda: {"cloudresourcemanager.googleapis.com", "serviceusage.googleapis.com"}
    )
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    changes: list[tuple[str, str]] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    unknown_for: int = 0
    denied: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resources[f"projects/{self.project}"] = {
            "projectId": self.project, "projectNumber": NUMBER, "lifecycleState": "ACTIVE",
        }  # fmt: skip

    def roles(self, resource: str) -> dict[str, set[str]]:
        """Member → its roles on a resource."""
        by_member: dict[str, set[str]] = {}
        for binding in self.policies.get(resource, {}).get("bindings", []):
            for member in binding["members"]:
                by_member.setdefault(member, set()).add(binding["role"])
        return by_member

    def grant(self, resource: str, role: str, member: str, condition: str = "") -> None:
        """What somebody else has granted, on a condition or not."""
        on = {"condition": {"title": "some", "expression": condition}} if condition else {}
        self.policies.setdefault(resource, {}).setdefault("bindings", []).append(
            {"role": role, "members": [member], **on}
        )

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """One request, by REST's rules that these APIs share.

        Raises:
            Refused: with an HTTP status and a message.
        """
        name = re.sub(r"^/(storage/)?v\d+(beta\d*|alpha\d*)?/", "", path)
        for api in {f"{OWNERS[part]}.googleapis.com" for part in re.split("[/:]", name) if part in OWNERS} - self.apis:
            raise Refused(403, f"{api} has not been used in project {self.project} before or it is disabled.", api)
        if name.startswith("b/") or name == "b":
            return self._storage(method, name, query, body)
        if name == "permissions:queryTestablePermissions":
            return {"permissions": [{"name": permission, "stage": "GA"} for permission in PERMISSIONS]}
        if match := re.fullmatch(
            rf"projects/({self.project}|{NUMBER})/services(:batchEnable|/[\w.]+:(?:enable|generateServiceIdentity))?",
            name,
        ):
            return self._services(method, match[2] or "", body)
        name, _, verb = name.partition(":") if re.search(r":\w+$", name) else (name, "", "")
        name = re.sub(rf"^projects/(-|{NUMBER})", f"projects/{self.project}", name)
        if verb == "getIamPolicy":
            return self._policy(name)
        if verb == "setIamPolicy":
            return self._set_policy(method, name, body["policy"])
        if verb:
            raise Refused(404, f"no such method: {path}")
        if method == "GET" and name.endswith("/keys"):
            keys = self.resources.get(name, {}).get("keys", [])
            return {"keys": [{"name": f"{name}/{key}", "keyType": "USER_MANAGED"} for key in keys]}
        if method == "GET" and name.endswith("/providers"):
            below = [child for key, child in self.resources.items() if key.startswith(f"{name}/")]
            return {"workloadIdentityPoolProviders": below}
        if method == "GET":
            return self._get(name)
        return self._change(method, name, query, body)

    def _get(self, name: str) -> dict[str, Any]:
        if name not in self.resources:
            raise Refused(404, f"{name} was not found.")
        return self.resources[name]

    def _change(self, method: str, name: str, query: dict[str, str], body: dict[str, Any]) -> Any:
        self._allow(method, name)
        if method == "PATCH" and "/serviceAccounts/" in name:
            # It has a body of its own, and a mask within.
            query, body = {"updateMask": body["updateMask"]}, body["serviceAccount"]
        if method == "PATCH":
            for key, _, inner in (mask.partition(".") for mask in query["updateMask"].split(",")):
                if inner:
                    self._get(name)[key][inner] = body[key][inner]
                else:
                    self._get(name)[key] = body[key]
            return _done(name, self._get(name))
        if name.endswith("/serviceAccounts"):
            email = f"{body['accountId']}@{self.project}.iam.gserviceaccount.com"
            made = self._create(f"{name}/{email}", {"email": email, **body["serviceAccount"]})
            return {"name": f"{name}/{email}", **made}
        if name.endswith("/secrets"):
            id_ = query["secretId"]
            return self._create(f"{name}/{id_}", {**body, "name": f"projects/{NUMBER}/secrets/{id_}"})
        if name.endswith("/roles"):
            if unknown := set(body["role"]["includedPermissions"]) - set(PERMISSIONS):
                raise Refused(400, f"Permission {min(unknown)} is not valid.")
            return self._create(f"{name}/{body['roleId']}", {**body["role"], "name": f"{name}/{body['roleId']}"})
        (id_,) = (value for key, value in query.items() if key.endswith("Id"))
        made = self._create(f"{name}/{id_}", {**body, "name": f"{name}/{id_}", "state": "ACTIVE"})
        return _done(f"{name}/{id_}", made)

    def _create(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if name in self.resources:
            raise Refused(409, f"{name} already exists.")
        self.resources[name] = body
        return body

    def _storage(self, method: str, name: str, query: dict[str, str], body: Any) -> Any:
        if name.endswith("/iam"):
            bucket = name.removesuffix("/iam")
            return self._set_policy(method, bucket, body) if method == "PUT" else self._policy(bucket)
        if name in self.foreign:
            raise Refused(
                403, "The caller does not have storage.buckets.get access to the Google Cloud Storage bucket."
            )
        if method == "GET":
            return self._get(name)
        self._allow(method, name)
        if (
            method == "PATCH"
        ):  # each label by itself: https://docs.cloud.google.com/storage/docs/json_api/v1/buckets/patch
            labels = {**self._get(name).get("labels", {}), **body.pop("labels", {})}
            self._get(name).update(body, labels=labels)
            return self._get(name)
        name = f"b/{body['name']}"
        project = query["project"]
        bindings = [
            {"role": role, "members": [f"{who}:{project}" for who in members]} for role, members in LEGACY.items()
        ]
        self.policies[name] = {"bindings": bindings}
        about = {"kind": "storage#bucket", "id": body["name"], "projectNumber": NUMBER}
        return self._create(name, {**body, **about})

    def _services(self, method: str, verb: str, body: Any) -> Any:
        if method == "GET":
            enabled = [
                {"name": f"projects/{NUMBER}/services/{api}", "config": {"name": api}, "state": "ENABLED"}
                for api in sorted(self.apis)
            ]
            return {"services": enabled}
        self._allow(method, f"services{verb}")
        if verb == "/aiplatform.googleapis.com:generateServiceIdentity":
            # The agent that runs custom code appears later, with the first job.
            return _done(f"projects/{NUMBER}/services", {"email": self.appear("gcp-sa-aiplatform")})
        new = body["serviceIds"] if verb == ":batchEnable" else [verb[1:].partition(":")[0]]
        self.apis |= set(new)
        return {"name": "operations/noop.DONE_OPERATION", "done": True, "response": {}}

    def appear(self, domain: str) -> str:
        """Let a service agent exist from now on; returns its e-mail address."""
        email = f"service-{NUMBER}@{domain}.iam.gserviceaccount.com"
        self.resources[f"projects/{self.project}/serviceAccounts/{email}"] = {"email": email}
        return email

    def _policy(self, name: str) -> dict[str, Any]:
        return {"etag": _etag(0), "version": 1, "bindings": [], **self.policies.get(name, {})}

    def _set_policy(self, method: str, name: str, policy: dict[str, Any]) -> dict[str, Any]:
        if policy.get("etag") != self._policy(name)["etag"]:
            raise Refused(409, "There were concurrent policy changes.")
        members = [member.partition(":") for binding in policy.get("bindings", []) for member in binding["members"]]
        for email in (email for kind, _, email in members if kind == "serviceAccount"):
            known = f"projects/{self.project}/serviceAccounts/{email}" in self.resources
            if not known or self.unknown_for:
                self.unknown_for -= known
                raise Refused(400, f"Service account {email} does not exist.")
        self._allow(method, f"{name}:setIamPolicy")
        self.policies[name] = {**policy, "etag": _etag(len(self.changes))}
        return self.policies[name]

    def _allow(self, method: str, name: str) -> None:
        if self.denied and re.search(self.denied, name):
            raise Refused(403, f"Permission denied on {name}")
        self.changes.append((method, name))


def _etag(version: int) -> str:
    return base64.b64encode(version.to_bytes(8)).decode()


def _done(name: str, response: dict[str, Any]) -> dict[str, Any]:
    """A long-running operation that has not run long; federation's are the resource's, the others the location's."""
    owner = name if "/workloadIdentityPools/" in name else "/".join(name.split("/")[:4])
    return {"name": f"{owner}/operations/1", "done": True, "response": response}


@contextmanager
def control_plane(project: str) -> Iterator[ControlPlane]:
    """Serve it on loopback; ``environment`` makes gcloud talk to it."""
    plane = ControlPlane(project)

    class Handler(JsonHandler):
        def handle_any(self) -> None:
            url = urlsplit(self.path)
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            status = 200
            try:
                reply = plane.answer(self.command, url.path, query, json.loads(text) if text else {})
            except Refused as refused:
                status, message, *disabled = refused.args
                word = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED"}[status]
                details = [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED",
                        "domain": "googleapis.com", "metadata": {"service": api, "consumer": f"projects/{NUMBER}"},
                    }
                    for api in disabled
                ]  # fmt: skip
                reply = {"error": {"code": status, "message": message, "status": word, "details": details}}
            self.answer(status, reply)

        do_GET = do_POST = do_PUT = do_PATCH = handle_any

    with served(Handler) as address:
        plane.environment = {
            "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
            **{f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}": f"http://{address}/" for service in SERVICES},
        }
        yield plane
