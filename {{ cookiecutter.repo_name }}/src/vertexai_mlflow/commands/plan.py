"""``kedro vertexai plan``"""

from dataclasses import asdict

import click

from ..checks.datasets import refuse_impossible
from ..show import tables
from . import console, options, say, say_json


@click.command("plan")
@click.option("--format", "style", type=click.Choice(["table", "mermaid", "json"]), default="table", show_default=True)
@options.pass_chosen
def command(chosen: options.Chosen, style: str) -> None:
    """Show the steps that a pipeline becomes: their nodes, inputs, outputs and resources."""
    doubts = refuse_impossible(chosen.project, chosen.plan)
    if style == "table":
        console().print(tables.as_table(chosen.plan))
    elif style == "json":
        say_json(asdict(chosen.plan))
    else:
        say(tables.as_mermaid(chosen.plan))
    chosen.environment.warn([*chosen.project.warnings, *chosen.plan.warnings, *doubts])
