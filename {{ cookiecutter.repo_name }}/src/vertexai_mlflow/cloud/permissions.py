"""Find out from Google's message about a refusal what helps: whom to grant which role, or which quota to raise."""

import re

_ACCOUNT = r"`?([\w.-]+@[\w.-]+\w)`?"
# https://github.com/googleapis/python-aiplatform/issues/1073
_ACT_AS = re.compile(f"permission to act as service_account: {_ACCOUNT}")
# https://github.com/zenml-io/zenml/issues/3766
_PULL = re.compile(f"Service Agent {_ACCOUNT} does not have permission to access Artifact Registry")
# https://github.com/statmike/vertex-ai-mlops/issues/60
_LACKS = re.compile(rf"[Aa]ccount {_ACCOUNT} does not have `?\[?(\w+)\.[^`]*` .*? the bucket \W*([\w.-]+\w)")
_DENIED = re.compile(r"Permission '(\w+)\.(\w+)\.\S+' denied on resource '(?://[\w.]+/)?(\S+?)'")
# https://github.com/GoogleCloudPlatform/vertex-ai-samples/issues/3479
_QUOTAS = re.compile(r"aiplatform\.googleapis\.com/(\w+)")
_REPOSITORY = re.compile(r"([\w-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/")
# The role that has a permission, by the permission's first part.
_ROLES = {
    "aiplatform": "roles/aiplatform.user", "storage": "roles/storage.objectUser",
    "artifactregistry": "roles/artifactregistry.reader", "iam": "roles/iam.serviceAccountUser",
    "cloudkms": "roles/cloudkms.cryptoKeyEncrypterDecrypter", "compute": "roles/compute.networkUser",
}  # fmt: skip
# Those that Vertex AI's own account needs, for a job in a private network, by the permission's first two parts.
# https://docs.cloud.google.com/vertex-ai/docs/training/psc-i-egress
_AGENT_ROLES = {"compute.networkAttachments": "roles/compute.networkAdmin", "dns.networks": "roles/dns.peer"}
_AGENT = "service-<project number>@gcp-sa-aiplatform.iam.gserviceaccount.com"


def suggest_fix(message: str, image: str = "", region: str = "") -> str:
    """What to grant, or how to stay within a quota; empty if the message is about neither, or the role is unknown.

    Args:
        message: Google's message.
        image: the image of the steps, whose repository a service agent may have to read.
        region: the region, whose quotas count.
    """
    if "quota metrics exceed quota limits" in message:
        return _explain_quota(_QUOTAS.findall(message), region)
    if match := _ACT_AS.search(message):
        return f"Grant this identity roles/iam.serviceAccountUser on {match[1]}."
    if match := _PULL.search(message):
        return _explain_pull_grant(match[1], image)
    if match := _LACKS.search(message):
        account, service, bucket = match.groups()
        return f"Grant {account} {_ROLES.get(service, 'a role with it')} on gs://{bucket}."
    match = _DENIED.search(message)
    if match and (role := _AGENT_ROLES.get(f"{match[1]}.{match[2]}")):
        return f"Grant {_AGENT} {role} on the project of {match[3]}."
    if match and match[1] in _ROLES:
        project = re.fullmatch("projects/([^/]+)(?:/locations/[^/]+)?", match[3])
        return f"Grant this identity {_ROLES[match[1]]} on {f'project {project[1]}' if project else match[3]}."
    return ""


def _explain_quota(metrics: list[str], region: str) -> str:
    quota = f"The quota {', '.join(metrics)} in {region} is used up."
    page = "https://console.cloud.google.com/iam-admin/quotas"
    if not any(metric.endswith("_cpus") for metric in metrics):
        return f"{quota} It is 0 until you ask for more: {page}"
    return (
        f"{quota} All steps that run side by side count, those of other jobs too. Let fewer of them run at once "
        "(run_config.grouping), let them wait for each other (run_config.resources.__default__.retries: 5), or ask "
        f"for more: {page}"
    )


def _explain_pull_grant(agent: str, image: str) -> str:
    """How to let a service agent of Vertex AI pull an image."""
    role = "roles/artifactregistry.reader"
    if not (match := _REPOSITORY.match(image)):
        return f"Grant {agent} {role} on the repository of the image."
    location, project, repository = match.groups()
    return (
        f"Allow it: gcloud artifacts repositories add-iam-policy-binding {repository} --location={location} "
        f"--project={project} --member=serviceAccount:{agent} --role={role}"
    )
