"""A step as a Vertex AI custom job: what Google's launcher is told, and the step's own container in what it is told.

The task of such a step runs the launcher, which creates the custom job and waits for it. The step is the container of
its first worker pool, and gets the same executor input as a task of its own would.
https://github.com/kubeflow/pipelines/tree/master/components/google-cloud/google_cloud_pipeline_components/container/v1/custom_job
"""

import json
from collections.abc import Mapping
from typing import Any

LAUNCHER = ("python3", "-u", "-m", "google_cloud_pipeline_components.container.v1.custom_job.launcher")
# Output of the task: the address of the custom job.
GCP_RESOURCES = "gcp_resources"
# The custom jobs of a pipeline job are found by its name, and the step of each of them by this label.
TASK_LABEL = "kedro_task"
_PAYLOAD = "--payload"
_PLACES = ("--project", "{{$.pipeline_google_cloud_project_id}}", "--location", "{{$.pipeline_google_cloud_location}}")
# The executor input is put into the payload, where it stands in a text of JSON.
_EXECUTOR_INPUT, _ESCAPED_EXECUTOR_INPUT = "{{$}}", "{{$.json_escape[1]}}"


def launcher_args(custom_job: Mapping[str, Any], resumes: bool) -> list[str]:
    """The arguments of the launcher.

    Args:
        custom_job: Google's ``CustomJob``, by the names of its fields in Python, with the step's container in it.
        resumes: whether a launcher that is started anew looks for the custom job of the one before it. It would take
            one that has failed, too, so a task that is tried again must not.
    """
    payload = json.dumps(custom_job, ensure_ascii=False).replace(f'"{_EXECUTOR_INPUT}"', f'"{_ESCAPED_EXECUTOR_INPUT}"')
    file = (
        f"{{{{$.outputs.parameters['{GCP_RESOURCES}'].output_file}}}}"
        if resumes
        else f"/tmp/custom_job/{GCP_RESOURCES}"
    )
    return ["--type", "CustomJob", _PAYLOAD, payload, *_PLACES, f"--{GCP_RESOURCES}", file]


def custom_job_of(container: Mapping[str, Any]) -> dict[str, Any] | None:
    """The custom job of a step that a container of a spec launches; None if it launches none of ours."""
    args = container.get("args", [])
    if LAUNCHER[-1] not in container.get("command", []) or _PAYLOAD not in args:
        return None
    payload = args[args.index(_PAYLOAD) + 1]
    try:
        custom_job = json.loads(payload.replace(f'"{_ESCAPED_EXECUTOR_INPUT}"', f'"{_EXECUTOR_INPUT}"'))
    except ValueError:  # somebody else's has placeholders where JSON has none
        return None
    return custom_job if TASK_LABEL in custom_job.get("labels", {}) else None


def unwrapped(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """The step's own container: the one in a custom job, with the rest of that as ``customJob``, or the one given."""
    custom_job = custom_job_of(container)
    if not custom_job:
        return container
    worker = custom_job["job_spec"]["worker_pool_specs"][0].pop("container_spec")
    return {
        "image": worker["image_uri"],
        **{name: worker[name] for name in ("command", "args", "env") if name in worker},
        "customJob": custom_job,
    }


def machine_of(container: Mapping[str, Any]) -> str:
    """What a step's own container asks for: ``4 CPU, 16G, 1 × NVIDIA_L4``; empty for the platform's default."""
    if custom_job := container.get("customJob"):
        return _machine_of_custom_job(custom_job["job_spec"])
    resources = container.get("resources", {})
    accelerator = resources.get("accelerator", {})
    cpu, memory = (resources.get(f"resource{name}Limit", "") for name in ("Cpu", "Memory"))
    kind = accelerator.get("resourceType") or accelerator.get("type", "")
    count = accelerator.get("resourceCount") or accelerator.get("count", "")
    parts = [f"{cpu} CPU" if cpu else "", memory, f"{count} × {kind}" if kind else ""]
    return ", ".join(part for part in parts if part)


def _machine_of_custom_job(job_spec: Mapping[str, Any]) -> str:
    pools = []
    for pool in job_spec["worker_pool_specs"]:
        machine, count = pool.get("machine_spec", {}), int(pool.get("replica_count", 1))
        kind = machine.get("accelerator_type", "")
        name = f"{f'{count} × ' if count > 1 else ''}{machine.get('machine_type', '')}"
        pools.append(", ".join([name, *([f"{machine.get('accelerator_count', 1)} × {kind}"] if kind else [])]))
    strategy = job_spec.get("scheduling", {}).get("strategy", "")
    return ", ".join([" + ".join(pools), *([strategy.lower()] if strategy else [])])
