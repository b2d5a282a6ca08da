"""The second part of doctor's checklist: what Google and MLflow answer before anything is launched.

The checks create and change nothing. They ask Google by ``testIamPermissions`` what an identity may do.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from .. import tracking
from ..cloud.client import Vertex
from ..cloud.rest import call, whoami
from ..contract.check import Check, Doubt, check
from ..errors import UserError
from ..image import PLATFORM, is_googles, other_version
from ..project import Project
from ..tracking.failures import refusal

# Seconds for which a failing call is tried again. They are few, because somebody waits at a terminal.
_PATIENCE = 10.0
# What an identity may do with the steps' service account → the role that lets it.
_ACT_AS = ("iam.serviceAccounts.actAs", "roles/iam.serviceAccountUser")
_MINT = ("iam.serviceAccounts.getOpenIdToken", "roles/iam.serviceAccountOpenIdTokenCreator")
# Renaming what has been written under a temporary name deletes that name.
_STORAGE = ["storage.objects.create", "storage.objects.delete", "storage.objects.get", "storage.objects.list"]
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1", "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2",
    )
)  # fmt: skip


def online(project: Project) -> Iterator[Check]:
    """Run the checks that need a network: of Google, if this environment launches on Vertex AI, and of MLflow."""
    if project.settings.project_id:
        yield from _google(project)
    yield check("MLflow", lambda: _mlflow(project))


def _google(project: Project) -> Iterator[Check]:
    me = check("identity", whoami)
    yield me
    if not me.ok:
        return
    run_config = project.settings.run_config
    account, root = run_config.service_account, run_config.root
    yield check("Vertex AI", lambda: _vertex(project))
    if account:
        yield check("may act as", lambda: _may(account, *_ACT_AS))
        yield check("ID tokens", lambda: _may(account, *_MINT))
    if root:
        yield check("bucket", lambda: _bucket(root, account))
    for image in sorted({run_config.image, *(asked.image for asked in run_config.resources.values() if asked.image)}):
        yield check("image pushed", partial(_image_pushed, image, project.env))


def _vertex(project: Project) -> str:
    vertex, experiment = Vertex(project.target, patience=_PATIENCE), project.settings.run_config.experiment_name
    vertex.jobs({}, limit=1)
    if experiment:
        vertex.has_experiment(experiment)
    return f"{project.target.api_endpoint} answers"


def _may(account: str, permission: str, role: str) -> str:
    url = f"https://iam.googleapis.com/v1/projects/-/serviceAccounts/{account}:testIamPermissions"
    refusals = {404: f"There is no service account {account}. Correct run_config.service_account."}
    answer = call("POST", url, refusals, json={"permissions": [permission]})
    if permission not in answer.json().get("permissions", []):
        raise UserError(f"Grant this identity {role} on {account}.")
    return account


def _bucket(root: str, account: str | None) -> str:
    """Check that the steps' service account may read and write the pipeline root, if this identity may ask as it."""
    bucket = root.removeprefix("gs://").partition("/")[0]
    url = f"https://storage.googleapis.com/storage/v1/b/{bucket}/iam/testPermissions"
    why_not = "" if account else "Without run_config.service_account they run as the project's default account."
    if account and not check("impersonates", lambda: whoami(account)).ok:
        why_not = f"This identity gets no access tokens of {account}, which launching does not need."
    if why_not:
        raise Doubt(
            f"Whether the steps may read and write gs://{bucket} was not asked, as only their account can. {why_not} "
            "doctor --on-vertex asks as that account."
        )
    cure = f"Grant {account} roles/storage.objectUser on gs://{bucket}: it lacks "
    refusals = {
        403: f"{cure}{', '.join(_STORAGE)}.",
        404: f"There is no bucket gs://{bucket}. Create it: gcloud storage buckets create gs://{bucket}",
    }
    answer = call("GET", url, refusals, account, params={"permissions": _STORAGE})
    missing = sorted(set(_STORAGE) - set(answer.json().get("permissions", [])))
    if missing:
        raise UserError(f"{cure}{', '.join(missing)}.")
    return f"{account} may read and write gs://{bucket}"


def _image_pushed(image: str, env: str | None) -> str:
    host, _, path = image.partition("/")
    if not is_googles(host):
        return f"{image} is not in a registry of Google's, so doctor did not look for it"
    tagged, _, digest = path.partition("@")
    name, _, tag = tagged.partition(":")
    # Those who launch need no right to pull: Vertex AI's service agents do it.
    unseen = f"Whether {image} is there cannot be seen without roles/artifactregistry.reader on its repository."
    push = f"kedro vertexai -e {env} push --image {image}"
    refusals = {401: unseen, 403: unseen, 404: f"{image} is not in the registry yet. Push it: {push}"}
    try:
        found, platforms, labels = _pushed(f"https://{host}/v2/{name}", digest or tag or "latest", refusals)
    except UserError as error:
        raise (Doubt(unseen) if str(error) == unseen else error) from None
    if not platforms:
        raise Doubt(f"{image} is there and does not tell which platform it is for. Vertex AI runs only {PLATFORM}.")
    if PLATFORM not in platforms:
        others = ", ".join(sorted(platforms))
        raise UserError(
            f"{image} is for {others}, and Vertex AI runs only {PLATFORM}. Build it again and push it: {push}"
        )
    if reason := other_version(image, labels):
        raise UserError(f"{reason} {push}")
    return found or image


def _pushed(repository: str, reference: str, refusals: Mapping[int, str]) -> tuple[str, set[str], dict[str, str]]:
    """The digest of an image that a registry has, its platforms, such as ``linux/amd64``, and the labels of that one.

    https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull
    """
    answer = call("GET", f"{repository}/manifests/{reference}", refusals, headers={"Accept": _MANIFESTS})
    manifest = answer.json()
    # An index has the platform of each of its manifests. That of a single manifest is in the image's configuration.
    if "manifests" in manifest:
        entries = {_platform(entry.get("platform", {})): entry["digest"] for entry in manifest["manifests"]}
        # The platform of an attestation, which buildx puts beside an image, is unknown/unknown.
        platforms, digest = entries.keys() - {"unknown/unknown"}, entries.get(PLATFORM)
        accept = {"Accept": _MANIFESTS}
        manifest = digest and call("GET", f"{repository}/manifests/{digest}", refusals, headers=accept).json()
        config = _config_of(repository, manifest, refusals) if manifest else {}
    else:
        config = _config_of(repository, manifest, refusals)
        platforms = {_platform(config)} - {"unknown/unknown"}
    labels = (config.get("config") or {}).get("Labels") or {}
    return answer.headers.get("Docker-Content-Digest", ""), set(platforms), labels


def _config_of(repository: str, manifest: Mapping[str, Any], refusals: Mapping[int, str]) -> dict[str, Any]:
    config: dict[str, Any] = call("GET", f"{repository}/blobs/{manifest['config']['digest']}", refusals).json()
    return config


def _platform(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('os', 'unknown')}/{entry.get('architecture', 'unknown')}"


def _mlflow(project: Project) -> str:
    try:
        with tracking.connected(project.path, project.env):
            return f"{tracking.ask()} answers"
    except UserError as error:
        raise UserError(refusal(str(error), error.__cause__)) from None
