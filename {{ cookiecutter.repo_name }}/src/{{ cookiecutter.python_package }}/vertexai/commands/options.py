"""Options and arguments that commands share, and what a command gets from the group."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import _split_params, split_node_names, split_string

if TYPE_CHECKING:
    from ..client import Vertex
    from ..plan import Plan
    from ..project import Project
    from ..request import Target

# What only some commands need is imported in them: `kedro --help` loads all of them.


@dataclass(frozen=True)
class Environment:
    """The project and its configuration environment, which ``kedro vertexai -e ENV`` names."""

    path: Path
    env: str | None

    @property
    def kedro(self) -> str:
        """How a command in this environment begins."""
        return f"kedro vertexai -e {self.env}" if self.env else "kedro vertexai"

    def project(self, params: dict[str, Any] | None = None) -> "Project":
        """The project, read in that environment with these runtime parameters."""
        from ..project import Project

        return Project(self.path, self.env, params)

    def vertex(self, target: "Target | None" = None) -> "Vertex":
        """The Vertex AI API where the environment's settings, or ``target``, say.

        Raises:
            UserError: when they name no project and region.
        """
        from ..errors import launch_extra
        from ..request import target as target_of

        with launch_extra():
            from ..client import Vertex
        if target is None:
            project = self.project()
            target = target_of(project.settings, project.settings_file)
        return Vertex(target)


pass_environment = click.make_pass_decorator(Environment)

pipeline = click.option("-p", "--pipeline", default="__default__", show_default=True, help="Name of the pipeline.")
params = click.option(
    "--params", default="", callback=_split_params, help="Runtime parameters as for kedro run: a=1,b.c=x"
)

# Which part of a pipeline: names and meaning are those of `kedro run`, keys those of Kedro's Pipeline.filter.
_SELECTION = {
    "from_nodes": ("--from-nodes", "These nodes and all that follows them.", split_node_names),
    "to_nodes": ("--to-nodes", "These nodes and all that they need.", split_node_names),
    "node_names": ("--nodes", "Only these nodes.", split_node_names),
    "tags": ("--tags", "Only nodes with one of these tags.", split_string),
    "from_inputs": ("--from-inputs", "What follows from these datasets.", split_string),
    "to_outputs": ("--to-outputs", "What these datasets need.", split_string),
}


def selection(command: Callable[..., None]) -> Callable[..., None]:
    """Options that choose a part of the pipeline; the command gets those that were given as ``selection``."""

    @functools.wraps(command)
    def collected(*args: Any, **options: Any) -> None:
        chosen = {name: value for name in _SELECTION if (value := options.pop(name))}
        command(*args, selection=chosen, **options)

    for name, (option, help_, split) in reversed(_SELECTION.items()):
        collected = click.option(option, name, default="", callback=split, help=f"{help_}  a,b")(collected)
    return collected


def warn(plan: "Plan") -> None:
    """Print a plan's warnings."""
    for warning in plan.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)


image = click.option("-i", "--image", help="Container image of the steps.  [default: run_config.image]")
job = click.argument("job")
wait_for_completion = click.option(
    "--wait-for-completion", is_flag=True, help="Follow the job to its end; exit with 1 if it fails."
)
style = click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
