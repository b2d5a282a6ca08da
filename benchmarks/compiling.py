"""``kedro vertexai compile`` for pipelines of ten to two thousand nodes: time and memory."""

import re
import sys
from pathlib import Path

from projects import peer_project, shape
from timing import BIN, Row, command, median, peak_memory, ratio, run

COMPILE = ["kedro", "vertexai", "compile", "-p", "shaped"]
SIZES = (10, 100, 1000)

# The floor: as many tasks of the same graph, by the KFP SDK alone.
SDK_ALONE = """
import sys
from kfp import dsl
from kfp.dsl import structures
from kfp.dsl.container_component_class import ContainerComponent

count = int(sys.argv[1])

def component(name, inputs, outputs):
    container = structures.ContainerSpecImplementation(image="x", command=["python"], args=["-m", "x", name])
    spec = structures.ComponentSpec(
        name=name,
        implementation=structures.Implementation(container=container),
        inputs={key: structures.InputSpec("system.Artifact@0.0.1") for key in inputs},
        outputs={key: structures.OutputSpec("system.Artifact@0.0.1") for key in outputs},
    )
    return ContainerComponent(spec, pipeline_func=None)

@dsl.pipeline(name="floor")
def floor():
    half, made = count // 2, []
    for i in range(count):
        taken = made[-1:] if i < half else made[half - 1 : half] if i < count - 1 else made[half:]
        inputs = {f"d{number}": output for number, output in enumerate(taken)}
        made.append(component(f"n{i}", inputs, ["out"])(**inputs).outputs["out"])

print(floor.pipeline_spec.pipeline_info.name)
"""

# What is ours of it, without the start of a process: seconds to plan, compile and write the pipeline.
OURS = """
import time
from pathlib import Path
from vertexai_mlflow.compile.compiler import compile_pipeline
from vertexai_mlflow.compile.plan import plan_pipeline
from vertexai_mlflow.contract.spec import write_spec
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.project import Project

project = Project(Path.cwd())
project.pipeline("shaped")
took = []
for _ in range(3):
    started = time.perf_counter()
    plan = plan_pipeline(project, "shaped")
    write_spec(compile_pipeline(project, plan, Launch("bench")), Path("pipeline.json"))
    took.append(time.perf_counter() - started)
print(min(took))
"""


def measure_compile(project: Path, with_peer: bool) -> list[Row]:
    """The whole command, against the peer, and against what the SDK and reading the project cost at the least."""
    registry = median(lambda: command(["kedro", "registry", "list"], project), 3)
    rows: list[Row] = []
    for size in SIZES:
        took = _compile_time(project, size, 3 if size < 1000 else 1)
        what = f"compile of {size:,} nodes"
        sdk = median(lambda size=size: command([str(BIN / "python"), "-c", SDK_ALONE, str(size)], project), 3)
        against = f"the KFP SDK alone and `kedro registry list`: {sdk:.1f} s + {registry:.1f} s"
        rows.append((what, f"{took:.1f} s", against, ratio(took, sdk + registry)))
        memory = peak_memory(COMPILE, project)
        if with_peer:
            rows += _against_peer(what, size, took, memory)
        else:
            rows.append((f"{what}, memory", _mib(memory), "", ""))
    alone = peak_memory(["kedro", "registry", "list"], project)
    rows.append((f"{what}, memory", _mib(memory), f"`kedro registry list`: {_mib(alone)}", ratio(memory, alone)))
    few, many = _cost_of_a_node(project, 100), _cost_of_a_node(project, 2000)
    among = f"among 100: {few * 1000:.2f} ms"
    rows.append(("cost of a node among 2,000", f"{many * 1000:.2f} ms", among, ratio(many, few)))
    return rows


def _against_peer(what: str, size: int, took: float, memory: int) -> list[Row]:
    peer, quiet = peer_project()
    shape(peer / "src/peer", size)
    theirs = median(lambda: command(COMPILE, peer, **quiet), 3 if size == SIZES[0] else 1)
    their_memory = peak_memory(COMPILE, peer, **quiet)
    return [
        (what, f"{took:.1f} s", f"kedro-vertexai: {theirs:.1f} s", ratio(took, theirs)),
        (
            f"{what}, memory", _mib(memory), f"kedro-vertexai: {_mib(their_memory)}", ratio(memory, their_memory),
        ),
    ]  # fmt: skip


def _cost_of_a_node(project: Path, size: int) -> float:
    shape(project / "src/bench", size)
    source = {"PYTHONPATH": str(project / "src")}
    return float(run([str(BIN / "python"), "-c", OURS], project, **source).splitlines()[-1]) / size


def _mib(memory: int) -> str:
    return f"{memory / 1024**2:.0f} MiB"


def _compile_time(project: Path, size: int, repetitions: int) -> float:
    shape(project / "src/bench", size)
    printed = run(COMPILE, project)
    # What the last node of a thousand takes is gathered before it, by further tasks.
    tasks = re.search(r" (\d+) tasks$", printed, re.MULTILINE)
    if not tasks or not size + 2 <= int(tasks[1]) <= size + 2 + size // 100:
        sys.exit(f"not {size} nodes: {printed}")
    return median(lambda: command(COMPILE, project), repetitions)
