"""One pipeline job of the stand-in for Vertex AI: the order comes on stdin, what happens to its tasks goes to stdout."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "in_place"))

from starter.vertexai.job import TaskRun
from starter.vertexai.local import run_spec


def tell(run: TaskRun) -> None:
    names = ("name", "state", "attempt", "error", "outputs", "log")
    print(json.dumps({name: getattr(run, name) for name in names}), flush=True)


order = json.load(sys.stdin)
done = run_spec(
    order["spec"],
    folder=Path(order["folder"]),
    cwd=Path(order["cwd"]),
    parameters=order["parameters"],
    name=order["name"],
    resource_name=order["resource_name"],
    on_change=tell,
)
print(json.dumps({"job": done.state}), flush=True)
