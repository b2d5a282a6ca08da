"""What Google and MLflow say before anything is launched: the checklist's second part.

Nothing is created or changed: Google tells by ``testIamPermissions`` what an identity may do.
"""

from collections.abc import Iterator
from typing import Any

import requests

from ..auth.credentials import GoogleAuthError, advice_for, may_impersonate, session, whoami
from ..auth.errors import AuthorizationError
from . import runs
from .client import Vertex
from .doctor import Check, check
from .errors import UserError
from .project import Project
from .request import Target, target

# Seconds: for an answer, and for one of Vertex AI in spite of failures; somebody waits at a terminal.
_TIMEOUT, _PATIENCE = 30.0, 10.0
_ACT_AS = "iam.serviceAccounts.actAs"
_STORAGE = ["storage.objects.create", "storage.objects.get", "storage.objects.list"]
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.index.v1", "oci.image.manifest.v1",
        "docker.distribution.manifest.list.v2", "docker.distribution.manifest.v2",
    )
)  # fmt: skip


def online(project: Project) -> Iterator[Check]:
    """The checks that ask: Google, if this environment launches on Vertex AI, and MLflow."""
    if project.settings.project_id:
        yield from _google(project, target(project.settings, project.settings_file))
    yield check("MLflow", lambda: _mlflow(project))


def _google(project: Project, to: Target) -> Iterator[Check]:
    me = check("identity", _identity)
    yield me
    if not me.ok:
        return
    run_config = project.settings.run_config
    account, root = run_config.service_account, run_config.root
    yield check("Vertex AI", lambda: _vertex(to))
    impersonated = None
    if account:
        yield check("may act as", lambda: _may_act_as(account))
        impersonates = check("impersonates", lambda: _impersonates(account))
        yield impersonates
        impersonated = account if impersonates.ok else None
    if root:
        yield check("bucket", lambda: _bucket(root, impersonated))
    yield check("image pushed", lambda: _image_pushed(run_config.image))


def _identity() -> str:
    try:
        return whoami()
    except AuthorizationError as error:
        raise UserError(str(error)) from None
    except GoogleAuthError as error:
        raise UserError(advice_for(error)) from None


def _vertex(to: Target) -> str:
    Vertex(to, patience=_PATIENCE).jobs({}, limit=1)
    return f"{to.api_endpoint} answers"


def _may_act_as(account: str) -> str:
    url = f"https://iam.googleapis.com/v1/projects/-/serviceAccounts/{account}:testIamPermissions"
    answer = _ask("POST", url, json={"permissions": [_ACT_AS]})
    if answer.status_code == 404:
        raise UserError(f"There is no service account {account}; correct run_config.service_account.")
    if not answer.ok:
        raise UserError(f"Google answers {answer.status_code}: {answer.text[:300]}")
    if _ACT_AS not in answer.json().get("permissions", []):
        raise UserError(f"Grant this identity roles/iam.serviceAccountUser on {account}.")
    return account


def _impersonates(account: str) -> str:
    """What the IAM header provider needs, and whoever wants to look with the steps' eyes."""
    try:
        may_impersonate(account)
    except GoogleAuthError as error:
        if "403" in str(error) or "denied" in str(error):
            raise UserError(f"Grant this identity roles/iam.serviceAccountTokenCreator on {account}.") from None
        raise UserError(f"{advice_for(error)} ({type(error).__name__})") from None
    return account


def _bucket(root: str, account: str | None) -> str:
    """Whether the steps' service account, or else this identity, may read and write there."""
    bucket = root.removeprefix("gs://").partition("/")[0]
    url = f"https://storage.googleapis.com/storage/v1/b/{bucket}/iam/testPermissions"
    answer = _ask("GET", url, account, params={"permissions": _STORAGE})
    if answer.status_code == 404:
        raise UserError(f"There is no bucket gs://{bucket}: gcloud storage buckets create gs://{bucket}")
    if not answer.ok and answer.status_code != 403:
        raise UserError(f"Google answers {answer.status_code}: {answer.text[:300]}")
    who = account or "this identity"
    missing = sorted(set(_STORAGE) - set(answer.json().get("permissions", []) if answer.ok else []))
    if missing:
        raise UserError(f"Grant {who} roles/storage.objectUser on gs://{bucket}: it lacks {', '.join(missing)}.")
    return f"{who} may read and write gs://{bucket}"


def _image_pushed(image: str) -> str:
    host, _, path = image.partition("/")
    if not host.endswith((".pkg.dev", "gcr.io")):
        return f"{image} is not in Google's registries: not asked"
    name, _, reference = path.partition("@") if "@" in path else path.partition(":")
    url = f"https://{host}/v2/{name}/manifests/{reference or 'latest'}"
    answer = _ask("HEAD", url, headers={"Accept": _MANIFESTS})
    if answer.status_code == 404:
        raise UserError(f"{image} is not there yet: kedro docker build --image {image} && docker push {image}")
    if answer.status_code in (401, 403):
        raise UserError(f"Grant this identity roles/artifactregistry.reader on the repository of {image}.")
    if not answer.ok:
        raise UserError(f"{host} answers {answer.status_code}.")
    return answer.headers.get("Docker-Content-Digest", image)


def _mlflow(project: Project) -> str:
    try:
        return f"{runs.ask(project.path, project.env)} answers"
    except UserError as error:
        said = str(error)
    if "Invalid Host header" in said:
        cure = "MLflow itself refuses the host name it is called by: start it with mlflow server --allowed-hosts …"
    elif "IAP" in said or "code 401" in said or "code 403" in said:
        cure = (
            "Identity-Aware Proxy refuses the token: client_id must be that of the IAP resource, and the service "
            "account needs roles/iap.httpsResourceAccessor on it."
        )
    else:
        raise UserError(said)
    raise UserError(f"{cure} ({said})")


def _ask(method: str, url: str, account: str | None = None, **request: Any) -> requests.Response:
    try:
        return session(account).request(method, url, timeout=_TIMEOUT, **request)
    except GoogleAuthError as error:
        raise UserError(advice_for(error)) from None
    except requests.RequestException as error:
        raise UserError(f"{url.split('/')[2]} cannot be reached: {type(error).__name__}") from None
