"""One pipeline job of the stand-in for Vertex AI: the order comes on stdin, what happens to its tasks goes to stdout."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "in_place"))

from starter.vertexai.contract.job import TaskRun
from starter.vertexai.local.containers import Containers
from starter.vertexai.local.preloaded import Preloaded
from starter.vertexai.local.processes import environment
from starter.vertexai.local.scheduler import run_spec


def tell(run: TaskRun) -> None:
    names = ("name", "state", "attempt", "error", "outputs", "log")
    # In one piece: several threads tell.
    sys.stdout.write(json.dumps({name: getattr(run, name) for name in names}) + "\n")
    sys.stdout.flush()


order = json.load(sys.stdin)
where = order["containers"]
# Containers start cold; without them, the steps' start is not what a test of launching is about.
cwd, memory = Path(order["cwd"]), Path(order["folder"]) / "preloaded.json"
preloaded = Preloaded(cwd, memory, environment()) if not where and (cwd / "src").is_dir() else None
done = run_spec(
    order["spec"],
    folder=Path(order["folder"]),
    cwd=Path(order["cwd"]),
    parameters=order["parameters"],
    name=order["name"],
    resource_name=order["resource_name"],
    containers=Containers(Path(where["mount"]), where["environment"]) if where else None,
    preloaded=preloaded,
    fail_fast=order["fail_fast"],
    on_change=tell,
)
if preloaded:
    preloaded.close()
print(json.dumps({"job": done.state}), flush=True)
