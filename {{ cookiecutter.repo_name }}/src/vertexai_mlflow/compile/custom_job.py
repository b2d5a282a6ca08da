"""A step that asks for a machine type, a spot machine or a disk → the custom job that Vertex AI runs it as.

The custom job is a dictionary with the names that the fields of ``google.cloud.aiplatform_v1.types.CustomJob`` have in
Python, because that is how Google's launcher reads it. ``cloud.request`` parses it by that class before a launch.
"""

import re
from collections.abc import Mapping
from typing import Any

from ..contract.custom_job import TASK_LABEL
from ..contract.names import shortened
from ..contract.params import leaves, merged
from ..errors import UserError
from ..settings.models import RunConfig
from ..settings.resources import Resources
from .datasets import Step
from .machines import find_misfit, find_unknown, gpus_for, machine_for, needs_own_machine

_JOB_NAME = "{{$.pipeline_job_name}}"
# What a custom job without an account would run as is not what a step without one runs as.
_ACCOUNT = "{{$.pipeline_service_account}}"


def custom_job(step: Step, container: Mapping[str, Any], run_config: RunConfig) -> dict[str, Any]:
    """Make the custom job of a step.

    Args:
        step: the step.
        container: its ``image_uri``, ``command``, ``args`` and ``env``.
        run_config: ``run_config`` of ``vertexai.yml``.

    Raises:
        UserError: when Vertex AI would refuse it.
    """
    resources = step.resources
    refuse_misfits(step.name, resources, run_config)
    gpu_type, gpus = gpus_for(resources)
    machine: dict[str, Any] = {"machine_type": machine_for(resources)}
    if gpu_type:
        machine |= {"accelerator_type": gpu_type, "accelerator_count": gpus}
    pool: dict[str, Any] = {"machine_spec": machine, "replica_count": 1, "container_spec": dict(container)}
    if disk := resources.boot_disk:
        pool["disk_spec"] = {"boot_disk_type": disk.type, "boot_disk_size_gb": disk.size}
    job_spec: dict[str, Any] = {
        "worker_pool_specs": [pool],
        "service_account": run_config.service_account or _ACCOUNT,
    }
    if resources.spot:
        job_spec["scheduling"] = {"strategy": "SPOT"}
    if resources.max_wait:  # in the queue of Google's Dynamic Workload Scheduler, which alone knows how long
        job_spec["scheduling"] = {"strategy": "FLEX_START", "max_wait_duration": f"{resources.max_wait}s"}
    if run_config.network.vpc:
        job_spec["network"] = run_config.network.vpc
    if run_config.reserved_ip_ranges:
        job_spec["reserved_ip_ranges"] = run_config.reserved_ip_ranges
    if attachment := run_config.psc_interface_config.network_attachment:
        peerings = [peering.model_dump() for peering in run_config.psc_interface_config.dns_peering_configs]
        job_spec["psc_interface_config"] = {"network_attachment": attachment, "dns_peering_configs": peerings}
    if run_config.persistent_resource:
        job_spec["persistent_resource_id"] = run_config.persistent_resource.name
    job: dict[str, Any] = {
        "display_name": _JOB_NAME,
        "job_spec": job_spec,
        "labels": {**run_config.labels, TASK_LABEL: task_label(step.name)},
    }
    if run_config.encryption_spec_key_name:
        job["encryption_spec"] = {"kms_key_name": run_config.encryption_spec_key_name}
    return _with_fields(job, resources.custom_job or {}, step.name)


def task_label(task: str) -> str:
    """The label by which the custom job of a task is found; a label has at most 63 characters."""
    return shortened(task, 63)


def refuse_misfits(step: str, resources: Resources, run_config: RunConfig) -> None:
    """Refuse what Vertex AI would refuse.

    Raises:
        UserError: naming the step and what does not go together.
    """
    where = f"run_config.resources: step '{step}' asks for"
    if misfit := find_misfit(resources):
        raise UserError(f"{where} {misfit}")
    if not machine_for(resources):
        raise UserError(f"{where} cpu {resources.cpu}, memory {resources.memory}. Name a machine_type that has them.")
    if resources.spot and resources.max_wait:
        raise UserError(f"{where} spot and max_wait. Vertex AI queues only steps that are not spot. Remove one.")
    own_scheduling = [
        name
        for name, value in (
            ("spot", resources.spot), ("max_wait", resources.max_wait), ("boot_disk", resources.boot_disk)
        )
        if value
    ]  # fmt: skip
    if run_config.persistent_resource and own_scheduling:
        raise UserError(
            f"{where} {' and '.join(own_scheduling)}, but run_config.persistent_resource has machines that are there "
            "already, with disks of their own. Remove one of them."
        )
    if resources.spot and re.search("(SPECIFIC|ANY)_RESERVATION", str(resources.custom_job)):
        raise UserError(f"{where} spot and for a reservation, but a reserved machine is no spot machine. Remove one.")


def describe_doubts(step: str, resources: Resources) -> list[str]:
    """What this project does not know about the machine of a step, in whole sentences."""
    where = f"run_config.resources: step '{step}' asks for"
    doubts = []
    if resources.is_custom_job and (unknown := find_unknown(resources)):
        doubts.append(f"{where} {unknown}, which this project does not know.")
    if resources.max_wait and not gpus_for(resources)[0]:
        doubts.append(f"{where} max_wait without a GPU. Google queues only custom jobs with GPUs.")
    gpu_type = resources.gpu_type or ""
    if not resources.is_custom_job and resources.gpu and (suggestion := needs_own_machine(gpu_type)):
        doubts.append(
            f"{where} {gpu_type} and leaves the machine to Vertex AI, which may find none for it. {suggestion}"
        )
    return doubts


def _with_fields(job: dict[str, Any], fields: Mapping[str, Any], step: str) -> dict[str, Any]:
    """Add what ``resources.*.custom_job`` says. Other worker pools than the first run the same container."""
    added: dict[str, Any] = _in_snake_case(fields)
    where = f"run_config.resources: custom_job of step '{step}'"
    job_spec: Any = added.pop("job_spec", {})
    pools = job_spec.pop("worker_pool_specs", []) if isinstance(job_spec, dict) else None
    if not isinstance(pools, list) or not all(isinstance(pool, Mapping) for pool in pools):
        raise UserError(f"{where}: jobSpec is a mapping, and workerPoolSpecs in it a list of mappings.")
    main_pool = job["job_spec"].pop("worker_pool_specs")[0]
    first, *others = pools or [{}]
    conflicts = [
        f"{prefix}{name}"
        for prefix, before, more in (
            ("", job, added), ("jobSpec.", job["job_spec"], job_spec), ("jobSpec.workerPoolSpecs[0].", main_pool, first)
        )
        for name in sorted(_paths(before) & _paths(more))
    ]  # fmt: skip
    if conflicts:
        raise UserError(
            f"{where}: {', '.join(conflicts)} is set already, by a key of its own or by this project. Remove it there."
        )
    first_pool = merged(main_pool, first)
    shared = {key: value for key, value in first_pool.items() if key != "replica_count"}
    all_pools = [first_pool, *({**shared, **pool} for pool in others)]
    return {**merged(job, added), "job_spec": {"worker_pool_specs": all_pools, **merged(job["job_spec"], job_spec)}}


def _paths(fields: Mapping[str, Any]) -> set[str]:
    """The fields that have a value, by dotted name."""
    return {name for name, _value in leaves(fields)}


def _in_snake_case(value: Any) -> Any:
    """``workerPoolSpecs`` → ``worker_pool_specs``: the REST API's names of fields as Python has them."""
    if isinstance(value, Mapping):
        return {
            re.sub(r"(?<!^)[A-Z]", lambda m: f"_{m[0]}", key).lower(): _in_snake_case(of) for key, of in value.items()
        }
    return [_in_snake_case(item) for item in value] if isinstance(value, list) else value
