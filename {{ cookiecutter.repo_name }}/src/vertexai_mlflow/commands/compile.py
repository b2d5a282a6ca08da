"""``kedro vertexai compile``"""

from pathlib import Path

import click

from ..checks.data import find_sources
from ..checks.datasets import refuse_impossible
from ..contract.spec import write_spec
from . import options, say


@click.command("compile")
@options.image
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="pipeline.json", show_default=True,
    help="File to write: .json or .yaml.",
)  # fmt: skip
@options.pass_chosen
def command(chosen: options.Chosen, image: str | None, output: Path) -> None:
    """Compile a pipeline to the spec that Vertex AI Pipelines runs. This needs no cloud."""
    doubts = refuse_impossible(chosen.project, chosen.plan)
    spec = chosen.compile(image)
    write_spec(spec, output)
    sources = find_sources(chosen.project, chosen.plan)
    project, plan = chosen.project, chosen.plan
    chosen.environment.warn(
        [*project.warnings, *plan.warnings, *project.left_behind, *sources.doubtful, *sources.problems, *doubts]
    )
    say(f"{output}: pipeline {spec['pipelineInfo']['name']}, {len(spec['deploymentSpec']['executors'])} tasks")
    for line in sources.available:
        say(line)
