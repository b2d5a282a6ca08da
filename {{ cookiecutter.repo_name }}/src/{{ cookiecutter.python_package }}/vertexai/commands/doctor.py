"""``kedro vertexai doctor``"""

from collections.abc import Iterator
from dataclasses import asdict

import click

from ..checks.check import Check
from ..checks.offline import offline as offline_checks
from ..checks.online import online as online_checks
from . import options, say, say_json


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Ask neither Google nor MLflow.")
@options.style
@options.pass_chosen
def command(chosen: options.Chosen, offline: bool, style: str) -> None:
    """Look for what would go wrong on Vertex AI before it does; exit with 1 if there is something."""
    checks = []
    for check in _checks(chosen, offline):
        checks.append(check)
        if style == "table":
            _show(check)
    if style == "json":
        say_json([asdict(check) for check in checks])
    click.get_current_context().exit(0 if all(check.ok for check in checks) else 1)


def _checks(chosen: options.Chosen, offline: bool) -> Iterator[Check]:
    can_ask = True
    for check in offline_checks(chosen.project, lambda: chosen.plan, chosen.compile):
        can_ask &= check.ok or not check.needed_to_ask
        yield check
    if not offline and can_ask:
        yield from online_checks(chosen.project)
    elif not offline:
        say("Google and MLflow were not asked. Correct the lines above first.", err=True)


def _show(check: Check) -> None:
    mark, colour = ("!", "yellow") if check.doubtful else ("✓", "green") if check.ok else ("✗", "red")
    say(mark, colour, nl=False)
    say(f" {check.name:<14} {check.said}")
