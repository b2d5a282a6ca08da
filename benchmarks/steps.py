"""What a step costs besides its nodes, and what the executor on this machine adds to it."""

import json
import sys
import tempfile
from pathlib import Path

from projects import peer_project
from timing import BIN, ENVIRONMENT, Row, command, in_turns, median, ratio, run

from vertexai_mlflow.contract.spec import Spec
from vertexai_mlflow.local.preloaded import Preloaded
from vertexai_mlflow.local.scheduler import RunOptions, run_spec

SLEEPERS = """
import json
from google.protobuf import json_format
from kfp import dsl

@dsl.container_component
def nap():
    return dsl.ContainerSpec(image="x", command=["sleep", "SECONDS"])

@dsl.pipeline(name="naps")
def naps():
    for _ in range(COUNT):
        nap().set_caching_options(False)

print(json.dumps(json_format.MessageToDict(naps.pipeline_spec)))
"""


def measure_step(project: Path, with_peer: bool) -> list[Row]:
    """One trivial step, process start to exit: cold against a bare ``kedro run`` of its node, and warm against cold."""
    # Bytecode, the experiment, a run to attach to, and what the preloaded interpreter remembers.
    command(["kedro", "vertexai", "run-local", "-p", "trivial"], project)
    (job,) = (project / ".vertexai").glob("bench-*")
    command(["kedro", "vertexai", "compile", "-p", "trivial"], project)
    spec = json.loads((project / "pipeline.json").read_text())
    container = spec["deploymentSpec"]["executors"]["exec-trivial"]["container"]
    values = {
        "{{$}}": json.dumps({"outputs": {"outputFile": str(project / "out")}}),
        "{{$.pipeline_job_name}}": job.name,
        "{{$.pipeline_job_uuid}}": "1",
        "{{$.pipeline_job_create_time_utc}}": "2026-01-01T00:00:00Z",
        "{{$.pipeline_job_resource_name}}": job.as_uri(),
    }
    argv = [values.get(item, item) for item in [*container["command"], *container["args"]]]
    source = {"PYTHONPATH": str(project / "src")}
    preloaded = Preloaded(project, project / ".vertexai/.preloaded.json", {**ENVIRONMENT, **source})
    if preloaded.why_not:
        sys.exit(preloaded.why_not)
    step, forked, kedro = in_turns(
        lambda: command(argv, project, **source),
        lambda: warm(preloaded, argv, project, **source),
        lambda: command(["kedro", "run", "--pipelines", "trivial"], project),
    )
    preloaded.close()
    what = "one trivial step, start to exit"
    from_fork = "one trivial step, forked from the preloaded interpreter, start to exit"
    rows = [
        (what, f"{step:.2f} s", f"`kedro run` of the same node: {kedro:.2f} s", ratio(step, kedro)),
        (from_fork, f"{forked:.2f} s", "at most 0.8 s", ratio(forked, 0.8)),
        (from_fork, f"{forked:.2f} s", f"started cold: {step:.2f} s", ratio(forked, step)),
    ]
    if with_peer:
        peer = measure_peer_step()
        rows.append((what, f"{step:.2f} s", f"kedro-vertexai's two commands: {peer:.2f} s", ratio(step, peer)))
    return rows


def warm(preloaded: Preloaded, argv: list[str], project: Path, **extra: str) -> None:
    """Run a step as a fork of the preloaded interpreter; a failure ends the benchmark with what it printed."""
    with tempfile.TemporaryFile() as log:
        code = preloaded.start(argv, project, {**ENVIRONMENT, **extra}, log.fileno()).wait()
        if code:
            log.seek(0)
            sys.exit(f"{argv}: {code}\n{log.read().decode()}")


def measure_peer_step() -> float:
    """kedro-vertexai's two commands for one step."""
    project, quiet = peer_project()
    first = ["kedro", "vertexai", "initialize-job", "--params", "{}"]
    second = ["kedro", "run", "--nodes", "trivial"]
    return median(lambda: (command(first, project, **quiet), command(second, project, **quiet)))


def measure_executor(project: Path) -> list[Row]:
    """Plain sleeping tasks: what the executor adds to them, and whether two branches take the time of one."""
    return [sleepers(project, count=50, seconds=0.2), sleepers(project, count=2, seconds=3.0)]


def sleepers(project: Path, count: int, seconds: float, workers: int = 2) -> Row:
    """Independent tasks that only sleep, against the time they must take."""
    code = SLEEPERS.replace("COUNT", str(count)).replace("SECONDS", str(seconds))
    spec: Spec = json.loads(run([str(BIN / "python"), "-c", code], project))
    floor = count * seconds / workers
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(Path(folder), project, max_workers=workers)
        took = median(lambda: run_spec(spec, options))
    against = f"the best possible: {floor:.2f} s ({(took - floor) * workers / count * 1000:.0f} ms a task added)"
    return f"{count} tasks that sleep {seconds} s, {workers} workers", f"{took:.2f} s", against, ratio(took, floor)
