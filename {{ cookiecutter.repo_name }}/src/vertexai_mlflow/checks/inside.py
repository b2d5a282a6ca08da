"""The launcher's part of the checks that run in a step: a job whose only task is ``doctor``, and its report."""

import json
from collections.abc import Iterator
from typing import Any

from ..contract.check import Check, Doubt, check
from ..contract.job import PipelineJob
from ..contract.names import DOCTOR_TASK, PROBE, REPORT, START_TASK
from ..contract.spec import Spec
from ..errors import UserError


def doctor_spec(spec: Spec) -> dict[str, Any]:
    """The spec of a job whose only task checks the container of this one's first task, with the same arguments."""
    container = spec["deploymentSpec"]["executors"][f"exec-{START_TASK}"]["container"]
    args = [f"--task={DOCTOR_TASK}" if item == f"--task={START_TASK}" else item for item in container["args"]]
    outputs = {
        "parameters": {REPORT: {"parameterType": "STRING"}},
        "artifacts": {PROBE: {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}},
    }
    task = {"componentRef": {"name": f"comp-{DOCTOR_TASK}"}, "taskInfo": {"name": DOCTOR_TASK}, "cachingOptions": {}}
    return {
        **spec,
        "pipelineInfo": {"name": f"{spec['pipelineInfo']['name']}-{DOCTOR_TASK}"},
        "components": {f"comp-{DOCTOR_TASK}": {"executorLabel": f"exec-{DOCTOR_TASK}", "outputDefinitions": outputs}},
        "deploymentSpec": {"executors": {f"exec-{DOCTOR_TASK}": {"container": {**container, "args": args}}}},
        "root": {"dag": {"tasks": {DOCTOR_TASK: task}}},
    }


def findings(job: PipelineJob, head: str) -> Iterator[Check]:
    """The checks that the job's task made; if it has reported nothing, one that says why.

    Args:
        job: the job of ``doctor_spec``, ended.
        head: the commit that is checked out here; empty if there is none.
    """
    task = job.tasks.get(DOCTOR_TASK)
    text = ((task and task.outputs) or {}).get("parameters", {}).get(REPORT)
    if not text:
        error, log = (task.error, task.log) if task and task.error else (job.error, "")
        yield Check("job", False, f"{job.name}: {job.state}. {error} {log and f'Its log: {log}'}".strip())
        return
    report = json.loads(text)
    yield from (Check(**line) for line in report["checks"])
    yield check("image", lambda: _check_revision(report["revision"], head))


def _check_revision(revision: str, head: str) -> str:
    if not revision or not head:
        raise Doubt("Cannot tell whether the image was built from this commit. Commit, and build it: make image")
    if revision != head:
        raise UserError(
            f"The image was built from commit {revision[:12]}, this is {head[:12]}. Build and push it again: "
            "kedro vertexai push"
        )
    return f"built from this commit, {head[:12]}"
