"""``kedro vertexai compile``"""

from pathlib import Path
from typing import Any

import click

from . import options


@click.command("compile")
@options.pipeline
@options.params
@options.image
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="pipeline.json", show_default=True,
    help="File to write: .json or .yaml.",
)  # fmt: skip
@options.selection
@options.pass_environment
def command(
    environment: options.Environment,
    pipeline: str,
    params: dict[str, Any],
    image: str | None,
    output: Path,
    selection: dict[str, Any],
) -> None:
    """Compile a pipeline to the spec that Vertex AI Pipelines runs. Needs no cloud."""
    from ..spec import write_spec

    project = environment.project(params)
    plan = project.plan(pipeline, selection)
    spec = project.compile(plan, image)
    write_spec(spec, output)
    options.warn(plan)
    click.echo(f"{output}: pipeline {spec['pipelineInfo']['name']}, {len(spec['deploymentSpec']['executors'])} tasks")
