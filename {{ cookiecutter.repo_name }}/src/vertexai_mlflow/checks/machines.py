"""Doctor's checks of machines: what Google can tell about quotas, machine types and a persistent resource.

They ask, and change nothing. What Google does not answer is a warning, because launching does not need it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from ..cloud.client import Vertex
from ..cloud.rest import call
from ..compile.datasets import Step
from ..compile.machines import gpus_for, machine_for
from ..compile.width import count_cpus
from ..contract.check import Doubt
from ..errors import UserError
from ..settings.models import Target

# https://docs.cloud.google.com/service-usage/docs/reference/rest/v1beta1/services.consumerQuotaMetrics
_QUOTA = (
    "https://serviceusage.googleapis.com/v1beta1/projects/{project}/services/aiplatform.googleapis.com/"
    "consumerQuotaMetrics/{metric}"
)
# https://docs.cloud.google.com/compute/docs/reference/rest/v1/machineTypes/aggregatedList
_MACHINE_TYPES = "https://compute.googleapis.com/compute/v1/projects/{project}/aggregated/machineTypes"
_ACT_AS = "iam.serviceAccounts.actAs"
_ASK_FOR_MORE = "Ask for more: https://console.cloud.google.com/iam-admin/quotas"
# What the name of a GPU's quota leaves out of the GPU's own name.
_NOT_IN_QUOTAS = ("tesla_", "_141gb")


def check_persistent_resource(vertex: Vertex, name: str, steps: Iterable[Step]) -> str:
    """Check that a persistent resource is in this region and takes the steps.

    Args:
        vertex: the client.
        name: its id.
        steps: the steps of the pipeline.
    """
    resource = vertex.persistent_resource(name)
    runtime = resource.get("resourceRuntimeSpec", {})
    if not runtime.get("serviceAccountSpec", {}).get("enableCustomServiceAccount"):
        raise UserError(
            f"Persistent resource {name} runs nothing as run_config.service_account. Make it again: gcloud ai "
            "persistent-resources create --enable-custom-service-account …"
        )
    pools = [(pool.get("replicaCount", "?"), pool["machineSpec"]) for pool in resource.get("resourcePools", [])]
    machines = {machine["machineType"] for _count, machine in pools}
    for step in steps:
        if step.resources.is_custom_job and machine_for(step.resources) not in machines:
            raise UserError(
                f"Step '{step.name}' asks for {machine_for(step.resources)}, and persistent resource {name} has "
                f"{', '.join(sorted(machines))}. Choose one of these, or add a pool."
            )
    if (state := resource.get("state")) != "RUNNING":
        raise Doubt(f"Persistent resource {name} is in state {state}, so tasks may have to wait for it.")
    listed = ", ".join(f"{count} × {machine['machineType']}" for count, machine in pools)
    return f"{name}: {listed}, which are paid for also while no job runs"


def check_acts_as_itself(account: str) -> str:
    """Check that the launcher of custom jobs, which runs as this account, may let them run as it."""
    fix = (
        f"gcloud iam service-accounts add-iam-policy-binding {account} --member=serviceAccount:{account} "
        "--role=roles/iam.serviceAccountUser"
    )
    url = f"https://iam.googleapis.com/v1/projects/-/serviceAccounts/{account}:testIamPermissions"
    try:
        answer = call("POST", url, {}, account, json={"permissions": [_ACT_AS]}).json()
    except UserError:
        raise Doubt(
            f"Could not check whether {account} may act as itself, which it must to start custom jobs. If not: {fix}"
        ) from None
    if _ACT_AS not in answer.get("permissions", []):
        raise UserError(f"{account} must be allowed to act as itself, to start custom jobs: {fix}")
    return f"{account} may start them"


def check_quotas(target: Target, steps: Iterable[Step]) -> str:
    """Compare what steps may take at once with the quotas of the region."""
    needed = _needed(list(steps))
    texts, problems = [], []
    for metric, amount in needed.items():
        limit = _limit(target.project_id, target.region, metric)
        if limit is None:
            continue
        texts.append(f"{metric} {amount} of {'any number' if limit < 0 else limit}")
        if 0 <= limit < amount:
            problems.append(f"{metric} in {target.region}: {amount} may be needed at once, and {limit} are allowed.")
    if problems:
        raise Doubt(f"{' '.join(problems)} Other jobs count, too. {_ASK_FOR_MORE}")
    if not texts:
        raise Doubt(f"Service Usage knows no quota of these names: {', '.join(needed)}.")
    return ", ".join(texts)


def check_machine_types(target: Target, steps: Iterable[Step]) -> str:
    """Check that Compute Engine has the machine types of custom jobs in the region. Vertex AI has no list of them."""
    machines = sorted({machine_for(step.resources) for step in steps if step.resources.is_custom_job})
    missing, texts = [], []
    for machine in machines:
        zones = _zones_with(target.project_id, machine)
        here = [zone for zone in zones if zone.startswith(f"{target.region}-")]
        regions = sorted({zone.rpartition("-")[0] for zone in zones})
        if not here:
            missing.append(f"{machine}: Compute Engine has it in {', '.join(regions) or 'no region'}")
        texts.append(f"{machine} in {', '.join(here)}")
    if missing:
        raise Doubt(f"Not in {target.region}: {'; '.join(missing)}. The steps would wait, or fail.")
    return "; ".join(texts)


def _needed(steps: list[Step]) -> dict[str, int]:
    """Quota → how much of it may be needed at once. Of GPUs, at least those of one step are."""
    needed: Counter[str] = Counter()
    needed["custom_model_training_cpus"] = count_cpus(steps)
    for step in steps:
        resources = step.resources
        gpu_type, count = gpus_for(resources)
        prefix = "custom_model_training_preemptible" if resources.spot else "custom_model_training"
        if gpu_type:
            name = gpu_type.lower()
            for part in _NOT_IN_QUOTAS:
                name = name.replace(part, "")
            if "h100" in name:
                name = name.removesuffix("_80gb")
            metric = f"{prefix}_{name}_gpus"
            needed[metric] = max(needed[metric], count)
    return {metric: amount for metric, amount in needed.items() if amount}


def _limit(project_id: str, region: str, metric: str) -> int | None:
    """A quota in a region; -1 for no limit, None if Google knows no quota of this name."""
    url = _QUOTA.format(project=project_id, metric=quote(f"aiplatform.googleapis.com/{metric}", safe=""))
    unknown = "there is no such quota"
    refusals = {
        403: "Could not look up quotas. Grant this identity roles/serviceusage.serviceUsageConsumer on project "
        f"{project_id}.",
        404: unknown,
    }
    try:
        answer = call("GET", url, refusals).json()
    except UserError as error:
        if str(error) == unknown:
            return None
        raise Doubt(str(error)) from None
    buckets = [bucket for limit in answer.get("consumerQuotaLimits", []) for bucket in limit.get("quotaBuckets", [])]
    regional = [bucket for bucket in buckets if bucket.get("dimensions", {}).get("region") == region]
    general = [bucket for bucket in buckets if not bucket.get("dimensions")]
    return next((int(bucket.get("effectiveLimit", 0)) for bucket in (*regional, *general)), None)


def _zones_with(project_id: str, machine: str) -> list[str]:
    """The zones in which Compute Engine has a machine type."""
    refusals = {403: f"Could not look up machine types without roles/compute.viewer on project {project_id}."}
    params: dict[str, Any] = {"filter": f'name = "{machine}"', "returnPartialSuccess": "true"}
    zones: list[str] = []
    while True:
        try:
            page: Mapping[str, Any] = call(
                "GET", _MACHINE_TYPES.format(project=project_id), refusals, params=params
            ).json()
        except UserError as error:
            raise Doubt(str(error)) from None
        zones += [
            scope.removeprefix("zones/") for scope, types in page.get("items", {}).items() if "machineTypes" in types
        ]
        if not page.get("nextPageToken"):
            return sorted(zones)
        params["pageToken"] = page["nextPageToken"]
