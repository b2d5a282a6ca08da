"""``kedro vertexai run-local``"""

from pathlib import Path

import click

from .. import image as images
from .. import tracking
from ..compile.spec import Spec, read_spec, with_params
from ..job import PipelineJob, State
from ..local.containers import Containers
from ..local.scheduler import run_spec
from ..project import tracking_uri
from ..show.progress import progress
from . import options

_EXIT_CODES: dict[str, int] = {State.SUCCEEDED: 0, State.FAILED: 1, State.CANCELLED: 130}


@click.command("run-local")
@click.option("--max-workers", type=click.IntRange(min=1), help="Steps side by side.  [default: one per CPU]")
@click.option(
    "--spec", "file", type=click.Path(dir_okay=False, path_type=Path),
    help="Run this compiled spec instead of compiling one.",
)  # fmt: skip
@click.option("--docker", is_flag=True, help="Run each step in its image, in a container, instead of a process.")
@options.image
@options.pass_chosen
def command(
    chosen: options.Chosen, max_workers: int | None, file: Path | None, docker: bool, image: str | None
) -> None:
    """Run the compiled pipeline on this machine, each step in a process or container of its own."""
    if file and chosen.selection:
        raise click.UsageError("--spec runs a spec as it was compiled. Choose the part when you compile it.")
    if image and (file or not docker):
        raise click.UsageError("--image goes with --docker, and not with --spec, which names its images.")
    project = chosen.project
    project.refuse_placeholders("mlflow")
    spec = with_params(read_spec(file), project.params) if file else chosen.compile(image)
    containers = _containers(chosen, spec) if docker else None
    folder = project.path / ".vertexai"
    with progress() as show:
        job = run_spec(
            spec, folder=folder, cwd=project.path, max_workers=max_workers, containers=containers, on_change=show
        )
    _tell(job, folder / job.name)
    click.get_current_context().exit(_EXIT_CODES[job.state])


def _containers(chosen: options.Chosen, spec: Spec) -> Containers:
    """How the steps run in containers, which share an embedded MLflow store of this project."""
    project = chosen.project
    for image in sorted({executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()}):
        images.require_image(image)
        if doubt := images.doubts(project.path, project.package_name, image):
            chosen.environment.warn([doubt])
    store = project.shared_mlflow()
    if store.startswith("sqlite:"):
        # The experiment, and with it the place of its artifacts, is made here, where the containers look for both.
        with tracking_uri(store), tracking.connected(project.path, project.env):
            tracking.ask()
    return Containers(project.path, {"MLFLOW_TRACKING_URI": store})


def _tell(job: PipelineJob, folder: Path) -> None:
    """Print how a job has ended, and where to look."""
    for task in job.failed_tasks:
        log = Path(task.log)
        click.secho(f"\n{task.name} failed: {task.error}. Its last lines in {_shown(log)}:", fg="red")
        click.echo(_tail(log))
    if job.mlflow_run:
        click.echo(f"MLflow: {job.mlflow_run}")
    click.echo(f"Logs and artifacts: {_shown(folder)}")
    click.secho(f"{job.name}: {job.state}", fg="green" if job.succeeded else "red")


def _tail(log: Path, lines: int = 15) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in text[-lines:])


def _shown(path: Path) -> str:
    """A path as the user would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
