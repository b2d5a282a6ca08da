"""The second part of doctor's checklist: what only Google and MLflow can tell before a launch.

The checks create and change nothing. They use ``testIamPermissions`` to ask Google what an identity may do.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from .. import tracking
from ..auth.secrets import API, ROLE, address_of
from ..cloud.client import Vertex
from ..cloud.rest import call, whoami
from ..compile.plan import Plan
from ..contract.check import Check, Doubt, check
from ..errors import UserError
from ..image.docker import INDEX_VARIABLE, PLATFORM, is_googles, other_version
from ..project import Project
from ..tracking.failures import refusal
from .index import check_index
from .machines import check_acts_as_itself, check_machine_types, check_persistent_resource, check_quotas
from .uploads import check_uploads

# Seconds for which a failing call is retried. They are few, because a person waits at a terminal.
_PATIENCE = 10.0
# What an identity may do with the steps' service account → the role that lets it.
_ACT_AS = ("iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser")
_MINT = ("iam.serviceAccounts.getOpenIdToken", "roles/iam.serviceAccountOpenIdTokenCreator")
_SIGN = ("iam.serviceAccounts.signJwt", "a role with iam.serviceAccounts.signJwt")
_ACCESS = "secretmanager.versions.access"
# Steps write under a temporary name and rename, which deletes the temporary one.
_STORAGE = ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"]
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1", "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2",
    )
)  # fmt: skip


def online(project: Project, plan: Callable[[], Plan]) -> Iterator[Check]:
    """Run the checks that need a network: of Google, if this environment launches on Vertex AI, and of MLflow.

    Args:
        project: the project in its environment.
        plan: plans the pipeline to launch.
    """
    if project.settings.project_id:
        yield from _check_google(project, plan)
    if os.environ.get(INDEX_VARIABLE):
        yield check("package index", lambda: check_index(project.path))
    if project.settings.data:
        yield check("uploaded data", lambda: check_uploads(project))
    yield check("MLflow", lambda: _check_mlflow(project))


def _check_google(project: Project, plan: Callable[[], Plan]) -> Iterator[Check]:
    identity = check("identity", whoami)
    yield identity
    if not identity.ok:
        return
    run_config = project.settings.run_config
    account, root = run_config.service_account, run_config.root
    yield check("Vertex AI", lambda: _check_vertex(project))
    yield check("quotas", lambda: check_quotas(project.target, plan().steps))
    if check("pipeline", lambda: plan().pipeline).ok and any(step.resources.is_custom_job for step in plan().steps):
        yield check("machine types", lambda: check_machine_types(project.target, plan().steps))
        if account:
            yield check("custom jobs", lambda: check_acts_as_itself(account))
    if wanted := run_config.persistent_resource:
        yield check("persistent resource", lambda: _check_persistent_resource(project, wanted.name, plan()))
    if account:
        yield check("act-as permission", lambda: _check_permission(account, *_ACT_AS))
        provider = (project.config("mlflow").get("server") or {}).get("request_header_provider") or {}
        if str(provider.get("type")).endswith(".MLFlowGoogleIapJwtRequestHeaderProvider"):
            yield check("signed JWTs", lambda: _check_permission(account, *_SIGN))
        else:
            yield check("ID tokens", lambda: _check_permission(account, *_MINT))
    if root:
        yield check("bucket", lambda: _check_bucket(root, account))
    for name in sorted({name for name, _version in project.configuration.secrets}):
        yield check("secret", partial(_check_secret, name, project.settings.project_id or "", account))
    for image in sorted({run_config.image, *(entry.image for entry in run_config.resources.values() if entry.image)}):
        yield check("pushed image", partial(check_pushed_image, image, project.env))


def _check_vertex(project: Project) -> str:
    vertex = Vertex(project.target, patience=_PATIENCE)
    vertex.jobs({}, limit=1)
    if experiment := project.settings.run_config.experiment_name:
        vertex.has_experiment(experiment)
    return f"{project.target.api_endpoint} answers"


def _check_persistent_resource(project: Project, name: str, plan: Plan) -> str:
    return check_persistent_resource(Vertex(project.target, patience=_PATIENCE), name, plan.steps)


def _check_permission(account: str, permission: str, role: str) -> str:
    """Check that this identity has a permission on the steps' service account."""
    # For an account that does not exist, Google answers 404 only if the account's project is named.
    project = re.fullmatch(r"[^@]+@([\w-]+)\.iam\.gserviceaccount\.com", account)
    url = f"https://iam.googleapis.com/v1/projects/{project[1] if project else '-'}/serviceAccounts/{account}"
    refusals = {
        403: f"There is no service account {account}, or you may not see it. Check run_config.service_account.",
        404: f"There is no service account {account}. Correct run_config.service_account.",
    }
    answer = call("POST", f"{url}:testIamPermissions", refusals, json={"permissions": [permission]})
    if permission not in answer.json().get("permissions", []):
        raise UserError(f"Grant this identity {role} on {account}.")
    return account


def _check_bucket(root: str, account: str | None) -> str:
    """Check that the steps' service account can read and write the pipeline root, if this identity may ask as it."""
    bucket = root.removeprefix("gs://").partition("/")[0]
    url = f"https://storage.googleapis.com/storage/v1/b/{bucket}/iam/testPermissions"
    _doubt_unless_asked_as(account, f"read and write gs://{bucket}")
    fix = f"Grant {account} roles/storage.objectUser on gs://{bucket}: it lacks "
    refusals = {
        403: f"{fix}{', '.join(_STORAGE)}.",
        404: f"There is no bucket gs://{bucket}. Create it: gcloud storage buckets create gs://{bucket}",
    }
    answer = call("GET", url, refusals, account, params={"permissions": _STORAGE})
    if missing := sorted(set(_STORAGE) - set(answer.json().get("permissions", []))):
        raise UserError(f"{fix}{', '.join(missing)}.")
    return f"{account} can read and write gs://{bucket}"


def _check_secret(name: str, project: str, account: str | None) -> str:
    """Check that the steps' service account may read a secret, if this identity may ask as it."""
    address = address_of(name, project)
    _doubt_unless_asked_as(account, f"read {address}")
    url, fix = f"https://{API}/v1/{address}:testIamPermissions", f"Grant {account} {ROLE} on {address}"
    refusals = {403: f"{fix}.", 404: f"There is no secret {address}. Create it: gcloud secrets create …"}
    answer = call("POST", url, refusals, account, json={"permissions": [_ACCESS]})
    if _ACCESS not in answer.json().get("permissions", []):
        raise UserError(f"{fix}, as `kedro vertexai bootstrap` does, and check that the secret exists.")
    return f"{account} can read {address}"


def _doubt_unless_asked_as(account: str | None, what: str) -> None:
    """Only the steps' account itself can ask Google what it may do. Launching does not need to be that account.

    Raises:
        Doubt: when this identity cannot ask as it.
    """
    reason = "" if account else "Without run_config.service_account, that is the project's default account."
    if account and not check("impersonation", lambda: whoami(account)).ok:
        reason = f"This identity gets no access tokens of {account}, which launching does not need."
    if reason:
        raise Doubt(
            f"Could not check whether the steps can {what}: only their account can ask. {reason} "
            "Run doctor --on-vertex to check."
        )


def check_pushed_image(image: str, env: str | None) -> str:
    """Check that a registry has an image, for the platform of Vertex AI and of this version.

    Args:
        image: its name.
        env: the configuration environment, for the message.
    """
    host, _, path = image.partition("/")
    if not is_googles(host):
        return f"{image} is not in one of Google's registries, so doctor did not look for it"
    tagged, _, digest = path.partition("@")
    name, _, tag = tagged.partition(":")
    # Launching does not need the permission to pull, because Vertex AI's service agents pull the image.
    unreadable = f"Could not check {image} without roles/artifactregistry.reader on its repository."
    push = f"kedro vertexai -e {env} push --image {image}"
    refusals = {401: unreadable, 403: unreadable, 404: f"{image} is not in the registry yet. Push it: {push}"}
    try:
        digest, platforms, labels = _look_up(f"https://{host}/v2/{name}", digest or tag or "latest", refusals)
    except UserError as error:
        raise (Doubt(unreadable) if str(error) == unreadable else error) from None
    if not platforms:
        raise Doubt(f"{image} exists but declares no platform. Vertex AI runs only {PLATFORM}.")
    if PLATFORM not in platforms:
        raise UserError(
            f"{image} is for {', '.join(sorted(platforms))}, and Vertex AI runs only {PLATFORM}. "
            f"Build it again and push it: {push}"
        )
    if reason := other_version(image, labels):
        raise UserError(f"{reason} {push}")
    return digest or image


def _look_up(repository: str, reference: str, refusals: Mapping[int, str]) -> tuple[str, set[str], dict[str, str]]:
    """The digest of an image in a registry, its platforms, and the labels of the one for ``linux/amd64``.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull
    """
    headers = {"Accept": _MANIFESTS}
    answer = call("GET", f"{repository}/manifests/{reference}", refusals, headers=headers)
    manifest, config = answer.json(), {}
    # An index names the platform of each of its manifests. That of a single manifest is in the image's configuration.
    if "manifests" in manifest:
        digests = {_platform_of(entry.get("platform", {})): entry["digest"] for entry in manifest["manifests"]}
        platforms = set(digests)
        if digest := digests.get(PLATFORM):
            url = f"{repository}/manifests/{digest}"
            config = _get_config(repository, call("GET", url, refusals, headers=headers).json(), refusals)
    else:
        config = _get_config(repository, manifest, refusals)
        platforms = {_platform_of(config)}
    labels = (config.get("config") or {}).get("Labels") or {}
    # The platform of an attestation, which buildx puts beside an image, is unknown/unknown.
    return answer.headers.get("Docker-Content-Digest", ""), platforms - {"unknown/unknown"}, labels


def _get_config(repository: str, manifest: Mapping[str, Any], refusals: Mapping[int, str]) -> dict[str, Any]:
    return dict(call("GET", f"{repository}/blobs/{manifest['config']['digest']}", refusals).json())


def _platform_of(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('os', 'unknown')}/{entry.get('architecture', 'unknown')}"


def _check_mlflow(project: Project) -> str:
    try:
        with tracking.connected(project.path, project.env):
            return f"{tracking.ask()} answers"
    except UserError as error:
        raise UserError(refusal(str(error), error.__cause__)) from None
