"""``kedro vertexai plan``"""

from typing import Any

import click

from . import options


@click.command("plan")
@options.pipeline
@click.option("--format", "style", type=click.Choice(["table", "mermaid", "json"]), default="table", show_default=True)
@options.selection
@options.pass_environment
def command(environment: options.Environment, pipeline: str, style: str, selection: dict[str, Any]) -> None:
    """Show the steps a pipeline becomes: their nodes, inputs, outputs and resources."""
    from rich.console import Console

    from .. import render

    plan = environment.project().plan(pipeline, selection)
    if style == "table":
        Console().print(render.as_table(plan))
    else:
        click.echo(render.as_mermaid(plan) if style == "mermaid" else render.as_json(plan))
    options.warn(plan)
