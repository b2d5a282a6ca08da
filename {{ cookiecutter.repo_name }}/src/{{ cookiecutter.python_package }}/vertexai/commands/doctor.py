"""``kedro vertexai doctor``"""

import functools
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from ..doctor import Check


@click.command("doctor")
@options.pipeline
@click.option("--offline", is_flag=True, help="Ask neither Google nor MLflow.")
@options.style
@options.pass_environment
@click.pass_context
def command(ctx: click.Context, environment: options.Environment, pipeline: str, offline: bool, style: str) -> None:
    """Look for what would go wrong on Vertex AI, before it does; exit with 1 if there is something."""
    checks = []
    for check in _checks(environment, pipeline, offline):
        checks.append(check)
        if style == "table":
            show(check)
    if style == "json":
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    ctx.exit(0 if all(check.ok for check in checks) else 1)


def show(check: "Check") -> None:
    """Print a line of the checklist."""
    mark = click.style("✓", fg="green") if check.ok else click.style("✗", fg="red")
    click.echo(f"{mark} {check.name:<14} {check.said}")


def _checks(environment: options.Environment, pipeline: str, offline: bool) -> Iterator["Check"]:
    from .. import doctor

    project = environment.project()
    good = True
    plan = functools.cache(lambda: project.plan(pipeline))
    for check in doctor.offline(project, plan, lambda: project.compile(plan())):
        good &= check.ok or check.name not in ("configuration", "filled in", "region")
        yield check
    if offline:
        return
    if not good:
        # To ask a <placeholder> is to ask nobody.
        click.echo("Google and MLflow have not been asked: first mend the above.", err=True)
        return
    from ..errors import launch_extra

    with launch_extra():
        from ..doctor_online import online
    yield from online(project)
