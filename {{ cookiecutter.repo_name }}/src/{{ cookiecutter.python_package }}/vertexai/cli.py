"""``kedro vertexai``: the group of this project's commands."""

from typing import Any

import click
from kedro.framework.startup import ProjectMetadata

from .commands import (
    cancel,
    compile,
    docker_login,
    doctor,
    facts,
    list_pipelines,
    logs,
    plan,
    push,
    run_local,
    run_once,
    schedule,
    status,
    ui,
)
from .commands.options import Environment
from .errors import UserError


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
    ctx.obj = Environment(metadata.project_path, env)


for module in (
    compile, plan, run_local, run_once, list_pipelines, status, logs, cancel, ui, schedule, doctor, facts,
    docker_login, push,
):  # fmt: skip
    vertexai.add_command(module.command)
