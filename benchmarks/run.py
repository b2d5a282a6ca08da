"""Measure what the starter promises, against a floor or the peer, in one run; write ``benchmarks/RESULTS.md``.

    make bench                                  # the figures that need nothing but this repository
    .venv/bin/python benchmarks/run.py --peer   # with kedro-vertexai 1.0.0, in an environment of its own

Every figure is the median of several runs on the machine at hand. Ratios carry over to other machines, seconds do not.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PEER = ROOT / "build" / "peer"
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/in_place")]

from fakes.google_identity import google_identity  # noqa: E402
from fakes.vertex import vertex_ai  # noqa: E402
from mlflow_server import mlflow_server  # noqa: E402
from starter.vertexai.local import run_spec  # noqa: E402
from starter.vertexai.spec import Spec  # noqa: E402

Row = tuple[str, str, str, str]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")},
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "DO_NOT_TRACK": "1",
}

PIPELINE = """
from kedro.pipeline import Pipeline, node

def trivial():
    return 1

def create_pipeline(**_kwargs):
    return Pipeline([node(trivial, None, "one", name="trivial")])
"""

# The first half a chain, the second half fans out from its end, the last node joins them all.
SHAPE = """
from kedro.pipeline import Pipeline, node

COUNT = {count}

def one(*inputs):
    return 1

def create_pipeline(**_kwargs):
    half = COUNT // 2
    chain = [node(one, f"d{{i - 1}}" if i else None, f"d{{i}}", name=f"n{{i}}") for i in range(half)]
    fan = [node(one, f"d{{half - 1}}", f"d{{i}}", name=f"n{{i}}") for i in range(half, COUNT - 1)]
    ends = [f"d{{i}}" for i in range(half, COUNT - 1)]
    return Pipeline([*chain, *fan, node(one, ends, None, name=f"n{{COUNT - 1}}")])
"""

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
        nap()

print(json.dumps(json_format.MessageToDict(naps.pipeline_spec)))
"""

HEADERS = """
import json, sys, time, timeit
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
sys.path.insert(0, "tests/in_place")
import mlflow
from starter.auth.gcp import MLFlowGoogleIAMRequestHeaderProvider
mlflow.set_tracking_uri("https://mlflow.example.com")
context = SimpleNamespace(config_loader={}, env="cloud")
names = {"client_id": "client", "service_account": "a@b.iam.gserviceaccount.com"}
provider = MLFlowGoogleIAMRequestHeaderProvider(context, **names)
with ThreadPoolExecutor(50) as pool:
    headers = list(pool.map(lambda _: provider.request_headers(), range(1000)))
seconds = min(timeit.repeat(lambda: provider.in_context() and provider.request_headers(), number=2000, repeat=5)) / 2000
print(json.dumps({"headers": len(headers), "microseconds": seconds * 1e6}))
"""


def main() -> None:
    """Run every measurement and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="store_true", help="measure kedro-vertexai too (installs it in build/peer)")
    arguments = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        project = bake(Path(folder))
        with mlflow_server(BIN / "mlflow", Path(folder), ENVIRONMENT) as url:
            config = project / "conf/base/mlflow.yml"
            config.write_text(config.read_text().replace("sqlite:///mlflow.db", url))
            rows += measure_step(project, arguments.peer)
        rows += measure_executor(project)
        rows += measure_launch(project, arguments.peer)
        rows += measure_header(Path(folder))
    write(rows)


def measure_step(project: Path, with_peer: bool) -> list[Row]:
    """One trivial step, process start to exit, and the floor below it: the same node in a bare ``kedro run``."""
    command(["kedro", "vertexai", "run-local"], project)  # bytecode, the experiment, and a run to attach to
    (job,) = (project / ".vertexai").iterdir()
    command(["kedro", "vertexai", "compile"], project)
    spec = json.loads((project / "pipeline.json").read_text())
    container = spec["deploymentSpec"]["executors"]["exec-trivial"]["container"]
    values = {
        "{{$}}": json.dumps({"outputs": {"outputFile": str(project / "out")}}),
        "{{$.pipeline_job_name}}": job.name,
        "{{$.pipeline_job_uuid}}": "1",
        "{{$.pipeline_job_resource_name}}": job.as_uri(),
        "{{$.pipeline_task_name}}": "trivial",
    }
    argv = [values.get(item, item) for item in [*container["command"], *container["args"]]]
    source = {"PYTHONPATH": str(project / "src")}
    step = median(lambda: command(argv, project, **source))
    kedro = median(lambda: command(["kedro", "run"], project))
    what = "one trivial step, start to exit"
    rows = [(what, f"{step:.2f} s", f"`kedro run` of the same node: {kedro:.2f} s", ratio(step, kedro))]
    if with_peer:
        peer = measure_peer_step()
        rows.append((what, f"{step:.2f} s", f"kedro-vertexai's two commands: {peer:.2f} s", ratio(step, peer)))
    return rows


def measure_executor(project: Path) -> list[Row]:
    """Plain sleeping tasks: what the executor adds to them, and whether two branches take the time of one."""
    return [sleepers(project, count=50, seconds=0.2), sleepers(project, count=2, seconds=3.0)]


def measure_launch(project: Path, with_peer: bool) -> list[Row]:
    """``run-once`` of a 10-node pipeline, from the command to the accepted request; and what the menu costs."""
    add_pipeline(project / "src/bench", "ten", 10)
    with (
        tempfile.TemporaryDirectory() as folder,
        google_identity(Path(folder)) as google,
        vertex_ai(
            project="p", region="europe-west1", cwd=project, folder=Path(folder), environment=ENVIRONMENT
        ) as vertex,
    ):
        vertex.execute = False
        (project / "conf/bench").mkdir()
        (project / "conf/bench/vertexai.yml").write_text(
            f"project_id: p\nregion: europe-west1\napi_endpoint: {vertex.url}\nrun_config:\n  root: gs://bucket\n"
        )
        quiet = {**google.environment, "CLOUDSDK_CONFIG": folder}
        launch = ["kedro", "vertexai", "-e", "bench", "run-once", "-p", "ten"]
        launched = median(lambda: command(launch, project, **quiet))
        if len(vertex.jobs) != 5:
            sys.exit(f"5 jobs were to be accepted, not {len(vertex.jobs)}.")
    menu = median(lambda: command(["kedro", "vertexai", "--help"], project))
    kedro = median(lambda: command(["kedro", "--help"], project))
    what = "run-once of 10 nodes, command to accepted request"
    rows = [
        (what, f"{launched:.2f} s", "at most 6 s", ratio(launched, 6)),
        ("kedro vertexai --help", f"{menu:.2f} s", f"`kedro --help`: {kedro:.2f} s", ratio(menu, kedro)),
    ]
    if with_peer:
        peer, quiet = peer_project()
        add_pipeline(peer / "src/peer", "ten", 10)
        compiled = median(lambda: command(["kedro", "vertexai", "compile", "-p", "ten"], peer, **quiet))
        against = f"kedro-vertexai's compile alone: {compiled:.2f} s"
        rows.append((what, f"{launched:.2f} s", against, ratio(launched, compiled)))
    return rows


def sleepers(project: Path, count: int, seconds: float, workers: int = 2) -> Row:
    """Independent tasks that only sleep, against the time they must take."""
    code = SLEEPERS.replace("COUNT", str(count)).replace("SECONDS", str(seconds))
    spec: Spec = json.loads(run([str(BIN / "python"), "-c", code], project))
    floor = count * seconds / workers
    with tempfile.TemporaryDirectory() as folder:
        took = median(lambda: run_spec(spec, folder=Path(folder), cwd=project, max_workers=workers))
    against = f"the best possible: {floor:.2f} s ({(took - floor) * workers / count * 1000:.0f} ms a task added)"
    return f"{count} tasks that sleep {seconds} s, {workers} workers", f"{took:.2f} s", against, ratio(took, floor)


def measure_header(folder: Path) -> list[Row]:
    """What a fresh token costs a request, and how many tokens 50 threads and 1,000 requests ask Google for."""
    with google_identity(folder) as google:
        printed = run([str(BIN / "python"), "-c", HEADERS], ROOT, **google.environment)
        counted = json.loads(printed.splitlines()[-1])
        asked = google.requests
    cost, what = counted["microseconds"], f"tokens asked for by {counted['headers']:,} headers in 50 threads"
    return [
        ("a header from a fresh token", f"{cost:.1f} µs", "at most 50 µs", ratio(cost, 50)),
        (what, str(asked), "one a process and lifetime", ratio(asked, 1)),
    ]


def measure_peer_step() -> float:
    """kedro-vertexai's two commands for one step."""
    project, quiet = peer_project()
    first = ["kedro", "vertexai", "initialize-job", "--params", "{}"]
    second = ["kedro", "run", "--nodes", "trivial"]
    return median(lambda: (command(first, project, **quiet), command(second, project, **quiet)))


def peer_project() -> tuple[Path, dict[str, str]]:
    """A project with kedro-vertexai in an environment of its own, ``aiplatform.init`` doing nothing: there are no
    credentials here.

    Returns:
        The project, and the environment variables of its commands.
    """
    quiet = {"PYTHONPATH": str(PEER), "PATH": f"{PEER / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    python = PEER / ".venv/bin/python"
    if not python.exists():
        uv = str(BIN / "uv")
        command([uv, "venv", "-q", "--python", str(BIN / "python"), str(PEER / ".venv")], ROOT)
        packages = ["kedro-vertexai[mlflow]==1.0.0", "kedro==1.0.*", "kedro-datasets"]
        packages += ["sqlalchemy<2.1", "setuptools<81"]  # it does not start with newer ones
        command([uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *packages], ROOT)
    project = PEER / "peer"
    if not project.exists():
        new = ["kedro", "new", "--name", "peer", "--tools", "none", "--example", "no", "--telemetry", "no"]
        command(new, PEER, PATH=quiet["PATH"])
        package = project / "src/peer/pipelines/trivial"
        package.mkdir()
        (package / "__init__.py").write_text(PIPELINE)
        command(["kedro", "mlflow", "init"], project, PATH=quiet["PATH"])
        (project / "conf/base/vertexai.yml").write_text(
            "project_id: p\nregion: europe-west1\nrun_config:\n  image: x\n  root: bucket/root\n  experiment_name: e\n"
            "  schedules:\n    default_schedule:\n      cron_expression: '0 * * * *'\n"
        )
        (PEER / "sitecustomize.py").write_text(
            "import sys\n"
            "class Quiet:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'google.cloud.aiplatform':\n"
            "            sys.meta_path.remove(self)\n"
            "            import google.cloud.aiplatform as aip\n"
            "            aip.init = lambda *a, **k: None\n"
            "sys.meta_path.insert(0, Quiet())\n"
        )
    return project, quiet


def add_pipeline(package: Path, name: str, count: int) -> None:
    """Give a project a pipeline of that many nodes."""
    folder = package / "pipelines" / name
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text(SHAPE.format(count=count))


def bake(folder: Path) -> Path:
    """A project without the example, with one trivial node."""
    answers = ["example=no", "project_name=Bench"]
    command([str(BIN / "cookiecutter"), str(ROOT), "--no-input", "-o", str(folder), *answers], ROOT)
    package = folder / "bench/src/bench/pipelines/trivial"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PIPELINE)
    return folder / "bench"


def command(argv: list[str], cwd: Path, **extra: str) -> None:
    """Run a command; a failure ends the benchmark with what it printed."""
    run(argv, cwd, **extra)


def run(argv: list[str], cwd: Path, **extra: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        argv, cwd=cwd, env={**ENVIRONMENT, **extra}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{argv}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def median(action: Callable[[], object], repetitions: int = 5) -> float:
    """Seconds that an action takes, the median of some repetitions."""
    seconds = []
    for _ in range(repetitions):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def ratio(value: float, to: float) -> str:
    """``0.25 ×``."""
    return f"{value / to:.2f} ×"


def write(rows: list[Row]) -> None:
    """Write the table."""
    lines = [
        "# Results",
        "",
        f"Made by `benchmarks/run.py`: {os.cpu_count()} cores, Python {platform.python_version()}, medians of 5 runs.",
        "",
        "| what | here | against | ratio |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    (ROOT / "benchmarks/RESULTS.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
