"""``kedro vertexai``: the group of this project's commands, each loaded only when it is called."""

import os
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import LazyGroup

from .errors import USE_WSL, AuthorizationError, UserError, did_you_mean, launch_extra, shown
from .guard import refuse_the_copy_of_another_project

# Command → its line in the listing. The command itself is ``command`` in the module of its name below ``commands``.
COMMANDS = {
    "plan": "Show the steps that a pipeline becomes: their nodes, inputs, outputs and resources.",
    "plans": "Plan and compile all registered pipelines and launches; exit with 1 if one cannot be compiled.",
    "compile": "Compile a pipeline to the spec that Vertex AI Pipelines runs. This needs no cloud.",
    "run-local": "Run the compiled pipeline on this machine, each step in a process or container of its own.",
    "doctor": "Look for what would go wrong on Vertex AI before it does; exit with 1 if there is something.",
    "upload-data": "Copy the raw data of a pipeline from this machine to the bucket, where its steps read it.",
    "run-once": "Launch a pipeline on Vertex AI, once.",
    "resume": "Run the unfinished steps of an earlier job, with today's code and image.",
    "schedule": "Make the schedules on Vertex AI those of run_config.schedules.",
    "list-pipelines": "List this project's pipeline jobs in this environment, newest first.",
    "status": "Show how far a job has come.",
    "logs": "Print what the steps of a job have printed, oldest line first.",
    "cancel": "Stop a job and end its MLflow run as KILLED.",
    "ui": "Print the address of a job in Google's console and open it.",
    "promote": "Make a registered version the champion, in its own environment or in another one.",
    "bootstrap": "Create what an environment needs in Google Cloud; --dry-run prints the plan.",
    "push": "Build the image of the steps, push it, and print its name by digest.",
    "docker-login": "Log docker in to the registry of the image, for an hour.",
    "facts": "Print what globals.yml says about the cloud, as lines of name=value for CI.",
}


class _Commands(LazyGroup):
    """Shows a user's mistake without a traceback and exits with 1. Wrong usage exits with 2, as click does it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        with launch_extra():
            return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        # Click knows only the commands that were loaded.
        is_option = args[0].startswith("-")
        if not (is_option or ctx.resilient_parsing or self.get_command(ctx, args[0])):
            ctx.fail(f"No such command '{args[0]}'.{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Click would import every command to ask for its help, and cut that off at the end of the line.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        if not hasattr(os, "fork"):
            click.secho(f"This is Windows, on which nobody has tried this command. {USE_WSL}", fg="yellow", err=True)
        try:
            return super().invoke(ctx)
        except (UserError, AuthorizationError) as error:
            raise click.ClickException(shown(str(error))) from None
        except click.UsageError as error:  # it quotes what was typed, which in CI may be somebody else's
            raise click.UsageError(shown(error.format_message()), error.ctx) from None


@click.group(
    cls=_Commands,
    lazy_subcommands={name: f"vertexai_mlflow.commands.{name.replace('-', '_')}.command" for name in COMMANDS},
)
@click.option(
    "-e", "--env", envvar="KEDRO_ENV", show_envvar=True, help="Configuration environment: a folder below conf."
)
@click.pass_context
def vertexai(ctx: click.Context, env: str | None) -> None:
    """Compile, run and follow this project's pipelines, on Vertex AI or on this machine."""
    if ctx.obj:  # what Kedro knows of the project
        refuse_the_copy_of_another_project(Path(ctx.obj.source_dir))
    ctx.meta["env"] = env
    if env:
        os.environ["KEDRO_ENV"] = env  # the configuration may take it, as run_config.root does
