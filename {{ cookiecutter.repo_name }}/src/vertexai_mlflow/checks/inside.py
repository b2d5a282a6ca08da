"""The launcher's half of the checks that run in a step: a spec whose only task is ``doctor``, and what it has found."""

import json
from collections.abc import Iterator
from typing import Any

from ..compile.spec import Spec
from ..contract import DOCTOR_TASK, PROBE, REPORT, START_TASK
from ..contract.check import Check, Doubt, check
from ..contract.job import PipelineJob
from ..errors import UserError


def doctor_spec(spec: Spec) -> dict[str, Any]:
    """The spec of a job that looks around where the first task of this one would run, told what that task is told."""
    container = spec["deploymentSpec"]["executors"][f"exec-{START_TASK}"]["container"]
    args = [f"--task={DOCTOR_TASK}" if item == f"--task={START_TASK}" else item for item in container["args"]]
    made = {
        "parameters": {REPORT: {"parameterType": "STRING"}},
        "artifacts": {PROBE: {"artifactType": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}}},
    }
    task = {"componentRef": {"name": f"comp-{DOCTOR_TASK}"}, "taskInfo": {"name": DOCTOR_TASK}, "cachingOptions": {}}
    return {
        **spec,
        "pipelineInfo": {"name": f"{spec['pipelineInfo']['name']}-{DOCTOR_TASK}"},
        "components": {f"comp-{DOCTOR_TASK}": {"executorLabel": f"exec-{DOCTOR_TASK}", "outputDefinitions": made}},
        "deploymentSpec": {"executors": {f"exec-{DOCTOR_TASK}": {"container": {**container, "args": args}}}},
        "root": {"dag": {"tasks": {DOCTOR_TASK: task}}},
    }


def findings(job: PipelineJob, head: str) -> Iterator[Check]:
    """What the job's task has found; that it has not run, if it told nothing.

    Args:
        job: the job of ``doctor_spec``, ended.
        head: the commit that is checked out here; empty if there is none.
    """
    task = job.tasks.get(DOCTOR_TASK)
    told = ((task and task.outputs) or {}).get("parameters", {}).get(REPORT)
    if not told:
        error, log = (task.error, task.log) if task and task.error else (job.error, "")
        yield Check("job", False, f"{job.name}: {job.state}. {error} {log and f'Its log: {log}'}".strip())
        return
    report = json.loads(told)
    yield from (Check(**line) for line in report["checks"])
    yield check("image", lambda: _of_this_commit(report["revision"], head))


def _of_this_commit(revision: str, head: str) -> str:
    if not revision or not head:
        raise Doubt("Whether the image is of this commit is not known. Commit, and build it with: make image")
    if revision != head:
        raise UserError(
            f"The image was built from commit {revision[:12]}, this is {head[:12]}. Build and push it again: "
            "kedro vertexai push"
        )
    return f"built from this commit, {head[:12]}"
