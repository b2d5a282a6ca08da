"""Make the request for a pipeline job from compiled spec and settings, in the JSON of Vertex AI's REST API.

``run-once --dry-run`` prints it as it would be sent, except for what looks like a secret.
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from google.cloud.aiplatform_v1 import types
from google.protobuf import json_format

from ..contract.custom_job import custom_job_of
from ..contract.job import PipelineJob
from ..contract.names import PARAMS
from ..contract.params import encode, leaves, merged
from ..contract.uploaded import Code
from ..errors import UserError
from ..settings.models import RunConfig, Settings
from .versions import version_for

Request = dict[str, Any]

# Labels by which jobs and schedules are found again.
PROJECT = "kedro_project"
ENV = "kedro_env"
PIPELINE = "kedro_pipeline"
LAUNCH = "kedro_launch"
ENTRY = "kedro_schedule"
FINGERPRINT = "kedro_fingerprint"
# Labels that say which code runs instead of the image's.
CODE = "kedro_code"
COMMIT = "kedro_commit"
DIRTY = "kedro_dirty"

# The fields of a PipelineJob that `run_config.pipeline_job` may not have, each with what sets it.
_SET_BY = {
    "displayName": "run_config.scheduled_run_name",
    "labels": "run_config.labels",
    "pipelineSpec": "the compiled pipeline",
    "runtimeConfig.gcsOutputDirectory": "run_config.root",
    "runtimeConfig.parameterValues": "--params",
    "runtimeConfig.failurePolicy": "run_config.failure_policy",
    "serviceAccount": "run_config.service_account",
    "network": "run_config.network.vpc",
    "reservedIpRanges": "run_config.reserved_ip_ranges",
    "pscInterfaceConfig.networkAttachment": "run_config.psc_interface_config.network_attachment",
    "preflightValidations": "run_config.preflight_validations",
    "encryptionSpec.kmsKeyName": "run_config.encryption_spec_key_name",
}
# What a task does when the persistent resource has no free machine in time: our words → Google's.
_OTHERWISE = {"fail": "FAIL", "on_demand": "FALL_BACK_TO_ON_DEMAND"}
# Fields in which two jobs with one content may differ: names, what only Google sets, and what it does not show again.
_NOT_CONTENT = {
    "displayName", "labels", "name", "createTime", "startTime", "endTime", "updateTime", "state", "jobDetail", "error",
    "templateMetadata", "scheduleName", "preflightValidations",
}  # fmt: skip
# What Google may show for a field that the request left out.
_DEFAULTS = {
    "serviceAccount": re.compile(r"\d+-compute@developer\.gserviceaccount\.com"),
    "runtimeConfig.failurePolicy": re.compile("PIPELINE_FAILURE_POLICY_FAIL_SLOW"),
}
_JOB_ID = re.compile(r"[a-z][a-z0-9-]{0,126}")


def make_request(
    spec: Mapping[str, Any],
    settings: Settings,
    *,
    name: str,
    params: Mapping[str, Any],
    labels: Mapping[str, str],
    where: str,
) -> Request:
    """Make the request for a pipeline job.

    Args:
        spec: compiled spec.
        settings: ``vertexai.yml``.
        name: display name.
        params: runtime parameters, as a nested dictionary.
        labels: by which the job is found again.
        where: path of the settings file, for the message.

    Returns:
        A ``PipelineJob`` whose label ``kedro_fingerprint`` covers everything but its names and labels.

    Raises:
        UserError: when the pipeline root is not in Cloud Storage, or ``pipeline_job`` has a field that it may not have,
            or a custom job in the spec has one that Google does not know.
    """
    run_config = settings.run_config
    refuse_unknown_fields(spec)
    if not run_config.root or not run_config.root.startswith("gs://"):
        raise UserError(f"{where}: run_config.root must be in Cloud Storage (gs://bucket/path), not {run_config.root}.")
    request: Request = {
        "pipelineSpec": dict(spec),
        "runtimeConfig": {
            "gcsOutputDirectory": run_config.root,
            "parameterValues": {PARAMS: encode(params)} if params else {},
        },
    }
    if run_config.service_account:
        request["serviceAccount"] = run_config.service_account
    if run_config.network.vpc:
        request["network"] = run_config.network.vpc
    if attachment := run_config.psc_interface_config.network_attachment:
        request["pscInterfaceConfig"] = {"networkAttachment": attachment}
        if peerings := run_config.psc_interface_config.dns_peering_configs:
            request["pscInterfaceConfig"]["dnsPeeringConfigs"] = [
                {"domain": item.domain, "targetProject": item.target_project, "targetNetwork": item.target_network}
                for item in peerings
            ]
    if run_config.reserved_ip_ranges:
        request["reservedIpRanges"] = run_config.reserved_ip_ranges
    if run_config.failure_policy:
        request["runtimeConfig"]["failurePolicy"] = f"PIPELINE_FAILURE_POLICY_{run_config.failure_policy.upper()}"
    if run_config.preflight_validations:
        request["preflightValidations"] = True
    if run_config.persistent_resource:
        request["runtimeConfig"]["defaultRuntime"] = _persistent_runtime(settings, where)
    if run_config.encryption_spec_key_name:
        request["encryptionSpec"] = {"kmsKeyName": run_config.encryption_spec_key_name}
    request = merged(request, _parse_pipeline_job(run_config.pipeline_job, where))
    fingerprint = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:32]
    return {
        "displayName": name[:128],
        **request,
        "labels": {**run_config.labels, **labels, FINGERPRINT: fingerprint},
    }


def _persistent_runtime(settings: Settings, where: str) -> Request:
    """The ``defaultRuntime`` of a job whose tasks run in a persistent resource."""
    wanted, target = settings.run_config.persistent_resource, settings.target(where)
    assert wanted, "it is called for a job with a persistent resource only"
    place = f"projects/{target.project_id}/locations/{target.region}/persistentResources"
    detail = {
        "persistentResourceName": f"{place}/{wanted.name}",
        "taskResourceUnavailableTimeoutBehavior": _OTHERWISE[wanted.otherwise],
    }
    if wanted.wait:
        detail["taskResourceUnavailableWaitTimeMs"] = str(1000 * wanted.wait)
    return {"persistentResourceRuntimeDetail": detail}


def refuse_unknown_fields(spec: Mapping[str, Any]) -> None:
    """Refuse custom jobs that Google's launcher could not make.

    Raises:
        UserError: naming the step and the field.
    """
    for label, executor in spec.get("deploymentSpec", {}).get("executors", {}).items():
        if custom_job := custom_job_of(executor.get("container", {})):
            try:
                json_format.ParseDict(custom_job, types.CustomJob.pb()())
            except json_format.ParseError as error:
                raise UserError(
                    f"run_config.resources: custom_job of step '{label.removeprefix('exec-')}': "
                    f"{str(error).splitlines()[0]}"
                ) from None


def find_differences(existing: Request, desired: Request) -> dict[str, tuple[Any, Any]]:
    """Compare what two jobs are: spec, account, runtime configuration and the like.

    Labels do not count: whoever may create jobs can copy them.

    Args:
        existing: a job as Google returns it.
        desired: a job of ``make_request``.

    Returns:
        By dotted field, the value of each. A spec is too long to be shown, so it is only named.
    """
    before, after = _get_content(existing), _get_content(desired)
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    differences = {name: (before.get(name), after.get(name)) for name in names if not _is_default(name, before, after)}
    return differences | ({"pipelineSpec": ("another", "this one")} if "pipelineSpec" in differences else {})


def _get_content(job: Request) -> dict[str, Any]:
    """The fields of a job by dotted name, with values as they are after their way through Google. The spec is one."""
    fields = {key: value for key, value in job.items() if key not in _NOT_CONTENT}
    message = version_for(job).types.PipelineJob.pb()()
    parsed = json_format.MessageToDict(json_format.ParseDict(fields, message))
    spec = parsed.pop("pipelineSpec", {})
    # The API leaves out what is empty.
    return {"pipelineSpec": spec, **{name: value for name, value in leaves(parsed) if value != {}}}


def _is_default(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return name in _DEFAULTS and name not in after and bool(_DEFAULTS[name].fullmatch(before[name]))


def _parse_pipeline_job(fields: Mapping[str, Any], where: str) -> Request:
    """The fields of ``run_config.pipeline_job`` as Google spells them, if none of them is unknown or set elsewhere."""
    try:
        message = json_format.ParseDict(fields, types.PipelineJob.pb()())
    except json_format.ParseError as error:
        raise UserError(f"{where}: run_config.pipeline_job: {str(error).splitlines()[0]}") from None
    parsed: Request = json_format.MessageToDict(message)
    names = [f"{name}." for name, _value in leaves(parsed)]
    reserved = [field for field in _SET_BY if any(name.startswith(f"{field}.") for name in names)]
    if conflicts := [f"{field} is set by {_SET_BY[field]}" for field in reserved]:
        raise UserError(f"{where}: run_config.pipeline_job: {', '.join(conflicts)}. Remove it here.")
    return parsed


def labels_of(project: str, env: str | None, pipeline: str | None = None, launch: str = "") -> dict[str, str]:
    """The labels by which jobs are found.

    Args:
        project: name of the Kedro project.
        env: its configuration environment.
        pipeline: name of the Kedro pipeline, or None for any pipeline.
        launch: entry of ``run_config.launches``, if the job is one.
    """
    labels = {PROJECT: label_value(project), ENV: label_value(env or "base")}
    return labels | ({PIPELINE: label_value(pipeline)} if pipeline else {}) | ({LAUNCH: launch} if launch else {})


def refuse_foreign_job(job: PipelineJob, run_config: RunConfig, labels: Mapping[str, str]) -> None:
    """Refuse to take results of a job that was not launched as an environment launches its own.

    Anybody who may start jobs in the Google project can start one with our labels, and its results are code.

    Args:
        job: the job.
        run_config: ``run_config`` of the environment's ``vertexai.yml``.
        labels: those by which the environment's jobs are found.

    Raises:
        UserError: naming what differs.
    """
    differences = [
        f"its {what} is {actual or 'not set'}, not {expected or 'not set'}"
        for what, actual, expected in [
            ("service account", job.service_account, run_config.service_account or ""),
            ("root", job.root.rstrip("/"), (run_config.root or "").rstrip("/")),
            *((f"label {name}", job.labels.get(name, ""), value) for name, value in labels.items()),
        ]
        if actual != expected
    ]
    if differences:
        raise UserError(
            f"Job {job.name} is not resumed, because it is not one of this environment: {'; '.join(differences)}. Its "
            "results may be somebody else's. Launch the pipeline again: run-once."
        )


def is_elsewhere(account: str, root: str, run_config: RunConfig) -> bool:
    """Whether a job with our labels is of another project whose package has the same name.

    `make bootstrap` lets no two projects share an account or a folder of a bucket. If only one of them differs, the
    setting has changed.

    Args:
        account: the service account that the job runs as; empty if unknown.
        root: its pipeline root; empty if unknown.
        run_config: ``run_config`` of the environment's ``vertexai.yml``.
    """
    has_other_root = bool(root) and root.rstrip("/") != (run_config.root or "").rstrip("/")
    return has_other_root and bool(account) and account != run_config.service_account


def labels_of_code(code: Code) -> dict[str, str]:
    """The labels of a job that runs uploaded code. A label has at most 63 letters, so the hash is cut."""
    commit_labels = {COMMIT: label_value(code.commit), DIRTY: str(code.is_dirty).lower()} if code.commit else {}
    return {CODE: code.sha256[:32], **commit_labels}


def check_job_id(job_id: str) -> None:
    """Refuse a job id that Vertex AI would refuse.

    Raises:
        UserError: when the id breaks Vertex AI's rule; the message states the rule.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise UserError(
            f"{job_id} is not a job id: use up to 127 lower-case letters, digits and hyphens, and begin with a letter."
        )


def label_value(text: str) -> str:
    """Turn a text into a valid label value. If it has to be changed, a hash keeps it apart from other texts."""
    value = re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]
    if value == text:
        return value
    return f"{value[:54]}-{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"
