"""``kedro vertexai plans``"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from ..checks.datasets import refuse_impossible
from ..compile.difference import as_record, schedules_as_record
from ..contract.launch import Launch
from ..errors import UserError
from ..project import Project
from ..show.plan_difference import as_markdown
from . import options, say, say_json


@click.command("plans")
@options.style
@click.option(
    "--since", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
    help="Another checkout of this project. Show as Markdown what differs from its plans.",
)  # fmt: skip
@options.pass_environment
def command(environment: options.Environment, style: str, since: Path | None) -> None:
    """Plan and compile all registered pipelines and launches; exit with 1 if one cannot be compiled.

    Nothing is written, and no cloud is asked.
    """
    project = environment.project()
    run_config = project.settings.run_config
    chosen = {name: _choose(environment, project, name) for name in project.pipeline_names}
    chosen |= {f"launch {name}": options.choose_launch(environment, name, {}) for name in run_config.launches}
    plans = {name: _plan(entry) for name, entry in chosen.items()}
    record = {"pipelines": plans, "schedules": schedules_as_record(run_config.schedule_entries)}
    if since:
        say(as_markdown(_plans_of(since, environment.env), record, environment.env or ""))
    elif style == "json":
        say_json(record)
    else:
        for name, steps in plans.items():
            if not isinstance(steps, str):
                say(f"{name}: {len(steps)} steps")
    errors = [f"{name}: {error}" for name, error in plans.items() if isinstance(error, str)]
    if errors and not since:
        raise UserError("\n".join(errors))


def _choose(environment: options.Environment, project: Project, name: str) -> options.Chosen:
    launch = Launch(package=project.package_name, pipeline=name, env=environment.env or "")
    return options.Chosen(environment, project, launch)


def _plan(chosen: options.Chosen) -> dict[str, Any] | str:
    """The steps of a pipeline or a launch, or why it cannot be compiled."""
    try:
        refuse_impossible(chosen.project, chosen.plan)
        chosen.compile()
    except UserError as error:
        return str(error)
    return as_record(chosen.plan)


def _plans_of(folder: Path, env: str | None) -> dict[str, Any]:
    """The plans of another checkout, whose code a process of its own imports; or the ``error`` that it ends with."""
    argv = [sys.executable, "-m", "kedro", "vertexai", *(["-e", env] if env else []), "plans", "--format", "json"]
    variables = {**os.environ, "PYTHONPATH": str(folder.resolve() / "src")}
    done = subprocess.run(argv, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        lines = (done.stderr or done.stdout).strip().splitlines()
        return {"error": lines[-1] if lines else f"exit code {done.returncode}"}
