"""``kedro vertexai …``: parse, call, print."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import _split_params
from kedro.framework.startup import ProjectMetadata

from .errors import UserError

if TYPE_CHECKING:
    from .project import Project

# What only some commands need is imported in them: `kedro --help` loads this module too.


class _Commands(click.Group):
    """Prints a user's mistake as a sentence and exits with 1; wrong usage exits with 2, as click does it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands)
@click.option("-e", "--env", help="Configuration environment: a folder below conf.")
@click.pass_context
def vertexai(ctx: click.Context, env: str | None) -> None:
    """Compile, run and watch this project's pipelines on Vertex AI, or on this machine."""
    metadata: ProjectMetadata = ctx.obj
    ctx.obj = (metadata.project_path, env)


_pipeline = click.option("-p", "--pipeline", default="__default__", show_default=True, help="Name of the pipeline.")
_params = click.option(
    "--params", default="", callback=_split_params, help="Runtime parameters as for kedro run: a=1,b.c=x"
)


@vertexai.command("compile")
@_pipeline
@_params
@click.option("-i", "--image", help="Container image of the steps.  [default: run_config.image]")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="pipeline.json", show_default=True,
    help="File to write: .json or .yaml.",
)  # fmt: skip
@click.pass_obj
def compile_(
    obj: tuple[Path, str | None], pipeline: str, params: dict[str, Any], image: str | None, output: Path
) -> None:
    """Compile a pipeline to the spec that Vertex AI Pipelines runs. Needs no cloud."""
    from .project import Project

    spec = _compile(Project(*obj, params), pipeline, image)
    from .compiler import write_spec  # _compile has said so if its library is missing

    write_spec(spec, output)
    click.echo(f"{output}: pipeline {spec['pipelineInfo']['name']}, {len(spec['deploymentSpec']['executors'])} tasks")


@vertexai.command("plan")
@_pipeline
@click.option("--format", "style", type=click.Choice(["table", "mermaid", "json"]), default="table", show_default=True)
@click.pass_obj
def plan_(obj: tuple[Path, str | None], pipeline: str, style: str) -> None:
    """Show the steps a pipeline becomes: their nodes, inputs, outputs and resources."""
    from rich.console import Console

    from . import render
    from .project import Project

    plan = Project(*obj).plan(pipeline)
    if style == "table":
        Console().print(render.as_table(plan))
    else:
        click.echo(render.as_mermaid(plan) if style == "mermaid" else render.as_json(plan))


@vertexai.command("run-local")
@_pipeline
@_params
@click.option("--max-workers", type=click.IntRange(min=1), help="Steps side by side.  [default: one per CPU]")
@click.option(
    "--spec", "file", type=click.Path(dir_okay=False, path_type=Path),
    help="Run this compiled spec instead of compiling one.",
)  # fmt: skip
@click.pass_context
def run_local(
    ctx: click.Context, pipeline: str, params: dict[str, Any], max_workers: int | None, file: Path | None
) -> None:
    """Run the compiled pipeline on this machine, each step in a process of its own."""
    from . import local
    from .params import encode
    from .project import Project
    from .spec import read_spec

    path, env = ctx.obj
    project = Project(path, env, params)
    project.refuse_placeholders("mlflow")
    spec = read_spec(file) if file else _compile(project, pipeline)
    with _progress() as show:
        job = local.run_spec(
            spec,
            folder=project.path / ".vertexai",
            cwd=project.path,
            parameters={"params": encode(params)} if file and params else {},
            max_workers=max_workers,
            on_change=show,
        )
    for run in job.tasks.values():
        if run.state == local.FAILED:
            click.secho(f"\n{run.name} failed: {run.error}. Its last lines in {_shown(run.log)}:", fg="red")
            click.echo(_tail(run.log))
    started = job.tasks.get("mlflow-start-run")
    if started and started.outputs:
        click.echo(f"MLflow: {started.outputs['parameters']['mlflow_run']}")
    click.echo(f"Logs and artifacts: {_shown(job.folder)}")
    click.secho(f"{job.name}: {job.state}", fg="green" if job.state == local.SUCCEEDED else "red")
    ctx.exit({local.SUCCEEDED: 0, local.FAILED: 1, local.CANCELLED: 130}[job.state])


def _compile(project: "Project", pipeline: str, image: str | None = None) -> dict[str, Any]:
    try:
        from .compiler import compile_plan
    except ModuleNotFoundError as error:
        cure = "Install what launching needs: pip install -e '.[launch]'"
        raise UserError(f"{error.name} is not installed. {cure}") from None
    project.check_params(pipeline)
    run_config = project.settings.run_config
    return compile_plan(
        project.plan(pipeline),
        project_name=project.path.name,
        package=project.package_name,
        image=image or run_config.image,
        env=project.env,
        params=project.params,
        root=run_config.root,
        description=run_config.description,
    )


@contextmanager
def _progress() -> Iterator[Any]:
    """Yield a callback that prints a line for each task that ends and, on a terminal, shows those that run."""
    from rich.console import Console
    from rich.markup import escape

    colours = {"SUCCEEDED": "green", "FAILED": "red", "CANCELLED": "yellow", "NOT_TRIGGERED": "bright_black"}
    console = Console(highlight=False)
    running: dict[str, None] = {}

    with console.status("starting") as status:

        def show(run: Any) -> None:
            name, error = f"{run.name:<40}", escape(run.error)
            if run.state == "RUNNING":
                if run.attempt > 1:
                    console.print(f"[yellow]{'RETRY':<13}[/] {name} attempt {run.attempt}: {error}")
                running[run.name] = None
            elif run.state in colours:
                running.pop(run.name, None)
                seconds = f"{run.seconds:6.1f} s" if run.attempt else ""
                console.print(f"[{colours[run.state]}]{run.state:<13}[/] {name} {seconds} {error}".rstrip())
            status.update("running: " + ", ".join(list(running)))

        yield show


def _tail(log: Path, lines: int = 15) -> str:
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in text[-lines:])


def _shown(path: Path) -> str:
    """A path as the user would type it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
