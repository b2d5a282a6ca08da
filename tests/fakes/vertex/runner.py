"""One pipeline job of the stand-in for Vertex AI: the order comes on stdin, what happens to its tasks goes to stdout."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
sys.path.insert(0, str(Path(__file__).parents[3] / "{{ cookiecutter.repo_name }}/src"))

from own_disks import StepFailed, run_on_own_disks

from fakes.vertex import quota as quota_py
from vertexai_mlflow.contract.job import TaskRun
from vertexai_mlflow.local.containers import Containers
from vertexai_mlflow.local.preloaded import Preloaded
from vertexai_mlflow.local.processes import environment
from vertexai_mlflow.local.scheduler import RunOptions, run_spec

# Tasks of a job on disks of their own, for which an interpreter is preloaded.
_MANY = 20


def within_quota(spec: dict[str, Any], folder: str, quota: int) -> None:
    """Let tasks start only while there are CPUs left: the default machine has 4, and none has fewer."""
    for executor in spec["deploymentSpec"]["executors"].values():
        container = executor["container"]
        cpus = max(4, math.ceil(container.get("resources", {}).get("cpuLimit", 0)))
        container["command"] = [sys.executable, quota_py.__file__, folder, str(quota), str(cpus), *container["command"]]


def tell(run: TaskRun) -> None:
    if run.state == "FAILED" and quota_py.EXCEEDED in Path(run.log).read_text():
        run = replace(run, error=quota_py.EXCEEDED)
    names = ("name", "state", "attempt", "error", "outputs", "log")
    # In one piece: several threads tell.
    sys.stdout.write(json.dumps({name: getattr(run, name) for name in names}) + "\n")
    sys.stdout.flush()


def on_own_disks(order: dict[str, Any]) -> str:
    """Execute a job whose tasks share no disk and whose artifacts are in the bucket. Returns how it has ended."""
    project, name = Path(order["cwd"]), order["name"]
    created = {"pipeline_job_create_time_utc": order["created"], "pipeline_job_resource_name": order["resource_name"]}
    # What every task would import takes as long as a few of them.
    are_many = len(order["spec"]["deploymentSpec"]["executors"]) > _MANY
    preloaded = Preloaded(project, Path(order["folder"]) / "preloaded.json", environment()) if are_many else None
    try:
        run_on_own_disks(
            order["spec"], project, order["bucket"], preloaded, parameters=order["parameters"], job=name,
            constants=created, on_change=tell,
        )  # fmt: skip
    except StepFailed:
        return "FAILED"
    finally:
        if preloaded:
            preloaded.close()
    return "SUCCEEDED"


order = json.load(sys.stdin)
if order["bucket"]:
    print(json.dumps({"job": on_own_disks(order)}), flush=True)
    raise SystemExit
for parameter, value in order["parameters"].items():
    order["spec"]["root"]["inputDefinitions"]["parameters"][parameter]["defaultValue"] = value
if order["quota"] is not None:
    within_quota(order["spec"], order["folder"], order["quota"])
where = order["containers"]
# Containers start cold; without them, the steps' start is not what a test of launching is about.
cwd, memory = Path(order["cwd"]), Path(order["folder"]) / "preloaded.json"
preloaded = (
    Preloaded(cwd, memory, environment()) if not where and order["quota"] is None and (cwd / "src").is_dir() else None
)
options = RunOptions(
    Path(order["folder"]),
    cwd,
    containers=Containers(Path(where["mount"]), where["environment"]) if where else None,
    preloaded=preloaded,
    fail_fast=order["fail_fast"],
)
done = run_spec(order["spec"], options, name=order["name"], resource_name=order["resource_name"], on_change=tell)
if preloaded:
    preloaded.close()
print(json.dumps({"job": done.state}), flush=True)
