"""Measure what the starter promises, against a floor or the peer, in one run; write ``benchmarks/RESULTS.md``.

    make bench                                  # everything, with kedro-vertexai 1.0.0 in an environment of its own
    .venv/bin/python benchmarks/run.py --only local preload memory --no-peer

Every figure is the median of several runs on the machine at hand. Ratios carry over to other machines, seconds do not.
"""

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from timing import BIN, ENVIRONMENT, ROOT, Row

sys.path[:0] = [str(ROOT / place) for place in ("tests", "tests/helpers", "{{ cookiecutter.repo_name }}/src")]

from artifacts import measure_artifacts  # noqa: E402
from carrying import measure_carrying  # noqa: E402
from compiling import measure_compile  # noqa: E402
from images import measure_image  # noqa: E402
from launching import measure_header, measure_launch  # noqa: E402
from local_runs import measure_local, measure_memory, measure_preloading  # noqa: E402
from mlflow_server import mlflow_server  # noqa: E402
from projects import PIPELINE, add_pipeline, bake  # noqa: E402
from steps import measure_executor, measure_step  # noqa: E402

PARTS = (
    "compile",
    "step",
    "executor",
    "local",
    "preload",
    "memory",
    "artifact",
    "carrying",
    "launch",
    "header",
    "image",
)


def main() -> None:
    """Run the measurements; write the table if all of them were run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-peer", action="store_true", help="do not measure kedro-vertexai, which takes ten minutes")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these parts, and write nothing")
    arguments = parser.parse_args()
    chosen = arguments.only or PARTS
    peer = not arguments.no_peer
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        project = bake(Path(folder))
        add_pipeline(project, "trivial", PIPELINE)
        parts = {
            "compile": lambda: measure_compile(project, peer),
            "step": lambda: measure_steps(project, peer),
            "executor": lambda: measure_executor(project),
            "local": lambda: measure_local(Path(folder)),
            "preload": lambda: measure_preloading(Path(folder)),
            "memory": lambda: measure_memory(Path(folder)),
            "artifact": measure_artifacts,
            "carrying": measure_carrying,
            "launch": lambda: measure_launch(project, peer),
            "header": lambda: measure_header(Path(folder)),
            "image": lambda: measure_image(Path(folder)),
        }
        for name in chosen:
            found = parts[name]()
            print(*("  ".join(row) for row in found), sep="\n", flush=True)
            rows += found
    lines = table(rows)
    print(lines)
    if peer and not arguments.only:
        (ROOT / "benchmarks/RESULTS.md").write_text(lines)


def measure_steps(project: Path, with_peer: bool) -> list[Row]:
    """A step with a real MLflow server to talk to."""
    with mlflow_server(BIN / "mlflow", project.parent, ENVIRONMENT) as url:
        config = project / "conf/base/mlflow.yml"
        config.write_text(config.read_text().replace("sqlite:///mlflow.db", url))
        return measure_step(project, with_peer)


def table(rows: list[Row]) -> str:
    """The figures as Markdown."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    lines = [
        "# Results",
        "",
        f"Made by `make bench`: {machine}, compiled bytecode; medians of several runs, of one where it takes minutes.",
        "",
        "| what | here | against | ratio |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
