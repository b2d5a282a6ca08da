"""``run-local`` against ``kedro run``: time, what is imported beforehand, and memory of steps side by side."""

import subprocess
import sys
import time
from pathlib import Path

from projects import WAITING, add_pipeline, bake, spaceflights
from timing import BIN, ENVIRONMENT, Row, command, in_turns, ratio

from vertexai_mlflow.local.preloaded import Preloaded

KEDRO_RUN = ["kedro", "run"]
RUN_LOCAL = ["kedro", "vertexai", "run-local"]
MEMORY = Path(".vertexai/.preloaded.json")

# `kedro run`, and at its end the names of the modules that are not the project's, in the order of their import.
MODULES_OF_KEDRO_RUN = """
import atexit
import sys
from pathlib import Path

from kedro.framework.cli import main

own = sys.argv.pop()
names = lambda: [name for name in sys.modules if name.split(".")[0] not in (own, "__main__")]
atexit.register(lambda: Path("modules.txt").write_text("\\n".join(names())))
main()
"""
IMPORT_THEM = """
import importlib
from contextlib import suppress
from pathlib import Path

for name in Path("modules.txt").read_text().splitlines():
    with suppress(ImportError):  # modules that others have made up have no file
        importlib.import_module(name)
"""


def measure_local(folder: Path) -> list[Row]:
    """Whole runs of the example, and of a project of the size of Kedro's spaceflights: the first run and later ones."""
    example = bake(folder, "Example", example=True)
    sizes = [("the example, 8 tasks", example), ("spaceflights' size, 11 tasks", spaceflights(folder))]
    return [row for what, project in sizes for row in _runs(what, project)]


def _runs(what: str, project: Path) -> list[Row]:
    memory = project / MEMORY
    command(KEDRO_RUN, project)  # bytecode, and MLflow's database

    def first() -> None:
        memory.unlink(missing_ok=True)
        command(RUN_LOCAL, project)

    # A first run leaves what the later one remembers.
    kedro, new, later, cold = in_turns(
        lambda: command(KEDRO_RUN, project),
        first,
        lambda: command(RUN_LOCAL, project),
        lambda: command([*RUN_LOCAL, "--cold"], project),
        repetitions=3,
    )
    against = f"`kedro run`: {kedro:.1f} s"
    return [
        (f"run-local of {what}, first run", f"{new:.1f} s", against, ratio(new, kedro)),
        (f"run-local of {what}, later runs", f"{later:.1f} s", against, ratio(later, kedro)),
        (f"run-local of {what}, `--cold`", f"{cold:.1f} s", against, ratio(cold, kedro)),
    ]


def measure_preloading(folder: Path) -> list[Row]:
    """The preloaded interpreter until it can fork, against an interpreter that imports what ``kedro run`` does."""
    project = bake(folder, "Imports", example=True)
    python = str(BIN / "python")
    command([python, "-c", MODULES_OF_KEDRO_RUN, "run", project.name], project)
    command(RUN_LOCAL, project)  # the preloaded interpreter remembers what its steps have imported

    def preload() -> None:
        preloaded = Preloaded(project, project / MEMORY, ENVIRONMENT)
        if preloaded.why_not:
            sys.exit(preloaded.why_not)
        preloaded.close()

    took, floor = in_turns(preload, lambda: command([python, "-c", IMPORT_THEM], project))
    against = f"an interpreter with what `kedro run` imports: {floor:.2f} s"
    return [("preloading for the example, start to end", f"{took:.2f} s", against, ratio(took, floor))]


def measure_memory(folder: Path) -> list[Row]:
    """Four steps side by side, which share nothing when they start cold; the preloaded interpreter is counted too."""
    project = bake(folder, "Waiting", example=True)
    add_pipeline(project, "waiting", WAITING)
    command([*KEDRO_RUN, "--pipelines", "penguins"], project)  # bytecode, and MLflow's database
    forked, cold = _memory(project), _memory(project, "--cold")
    against = f"started cold: {cold / 1024:.0f} MiB"
    return [("memory of 4 steps side by side", f"{forked / 1024:.0f} MiB", against, ratio(forked, cold))]


def _memory(project: Path, *options: str) -> int:
    """KiB of four steps in the middle of their nodes; what processes share is counted once."""
    argv = [*RUN_LOCAL, "-p", "waiting", "--max-workers", "4", *options]
    process = subprocess.Popen(argv, cwd=project, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    while len(pids := [path.read_text() for path in project.glob("waiting-*")]) < 4 or not all(pids):
        if process.poll() is not None:
            sys.exit(f"{argv}: exit code {process.returncode}")
        time.sleep(0.1)
    time.sleep(1)
    # Cold steps are children of `run-local` itself, forked ones of the preloaded interpreter.
    parents = {_value(f"/proc/{pid}/status", "PPid") for pid in pids} - {process.pid}
    found = sum(_value(f"/proc/{pid}/smaps_rollup", "Pss") for pid in [*pids, *parents])
    (project / "go-on").touch()
    if process.wait():
        sys.exit(f"{argv}: exit code {process.returncode}")
    for path in (project / "go-on", *project.glob("waiting-*")):
        path.unlink()
    return found


def _value(file: str, key: str) -> int:
    (line,) = [line for line in Path(file).read_text().splitlines() if line.startswith(f"{key}:")]
    return int(line.split()[1])
