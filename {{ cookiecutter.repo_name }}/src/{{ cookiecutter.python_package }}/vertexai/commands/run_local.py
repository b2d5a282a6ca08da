"""``kedro vertexai run-local``"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from ..docker import Containers
    from ..project import Project
    from ..spec import Spec


@click.command("run-local")
@options.pipeline
@options.params
@click.option("--max-workers", type=click.IntRange(min=1), help="Steps side by side.  [default: one per CPU]")
@click.option(
    "--spec", "file", type=click.Path(dir_okay=False, path_type=Path),
    help="Run this compiled spec instead of compiling one.",
)  # fmt: skip
@click.option("--docker", is_flag=True, help="Run each step in its image, in a container, instead of a process.")
@options.image
@options.selection
@options.pass_environment
@click.pass_context
def command(
    ctx: click.Context,
    environment: options.Environment,
    pipeline: str,
    params: dict[str, Any],
    max_workers: int | None,
    file: Path | None,
    docker: bool,
    image: str | None,
    selection: dict[str, Any],
) -> None:
    """Run the compiled pipeline on this machine, each step in a process or container of its own."""
    from .. import job, local
    from ..params import encode
    from ..progress import progress
    from ..spec import read_spec

    if file and selection:
        raise click.UsageError("--spec runs a spec as it was compiled: choose the part when compiling it.")
    project = environment.project(params)
    project.refuse_placeholders("mlflow")
    if image and (file or not docker):
        raise click.UsageError("--image goes with --docker, and not with --spec, which names its images.")
    spec = read_spec(file) if file else project.compile(project.plan(pipeline, selection), image)
    containers = _containers(environment, project, spec) if docker else None
    with progress() as show:
        done = local.run_spec(
            spec,
            folder=project.path / ".vertexai",
            cwd=project.path,
            parameters={"params": encode(params)} if file and params else {},
            max_workers=max_workers,
            containers=containers,
            on_change=show,
        )
    for run in done.tasks.values():
        if run.state == job.FAILED:
            log = Path(run.log)
            click.secho(f"\n{run.name} failed: {run.error}. Its last lines in {_shown(log)}:", fg="red")
            click.echo(_tail(log))
    started = done.tasks.get("mlflow-start-run")
    if started and started.outputs:
        click.echo(f"MLflow: {started.outputs['parameters']['mlflow_run']}")
    click.echo(f"Logs and artifacts: {_shown(done.folder)}")
    click.secho(f"{done.name}: {done.state}", fg="green" if done.state == job.SUCCEEDED else "red")
    ctx.exit({job.SUCCEEDED: 0, job.FAILED: 1, job.CANCELLED: 130}[done.state])


def _containers(environment: options.Environment, project: "Project", spec: "Spec") -> "Containers":
    """Where the steps run; an embedded MLflow store of this project is theirs, too."""
    from .. import docker, runs

    for image in sorted({executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()}):
        docker.require_image(image)
        if doubt := docker.doubts(project.path, project.package_name, image):
            click.secho(f"Warning: {doubt}", fg="yellow", err=True)
    store = project.shared_mlflow()
    if store.startswith("sqlite:"):
        # The experiment, and with it the place of its artifacts, is made here, where both are kept.
        runs.ask(project.path, environment.env)
    return docker.Containers(project.path, {"MLFLOW_TRACKING_URI": store})


def _tail(log: Path, lines: int = 15) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in text[-lines:])


def _shown(path: Path) -> str:
    """A path as the user would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
