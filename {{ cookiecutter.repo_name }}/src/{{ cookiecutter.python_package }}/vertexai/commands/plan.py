"""``kedro vertexai plan``"""

import click
from rich.console import Console

from ..show import tables
from . import options


@click.command("plan")
@click.option("--format", "style", type=click.Choice(["table", "mermaid", "json"]), default="table", show_default=True)
@options.pass_chosen
def command(chosen: options.Chosen, style: str) -> None:
    """Show the steps that a pipeline becomes: their nodes, inputs, outputs and resources."""
    if style == "table":
        Console().print(tables.as_table(chosen.plan))
    else:
        click.echo(tables.as_mermaid(chosen.plan) if style == "mermaid" else tables.as_json(chosen.plan))
    chosen.environment.warn(chosen.plan.warnings)
