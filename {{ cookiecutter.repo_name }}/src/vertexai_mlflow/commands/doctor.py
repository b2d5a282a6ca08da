"""``kedro vertexai doctor``"""

from collections.abc import Iterator
from dataclasses import asdict

import click

from ..checks.ci import check_ci
from ..checks.inside import doctor_spec, findings
from ..checks.offline import offline as offline_checks
from ..checks.online import online as online_checks
from ..cloud.client import Vertex
from ..cloud.request import labels_of, make_request
from ..contract.check import Check, check
from ..contract.job import PipelineJob, new_job_name
from ..contract.names import DOCTOR_TASK
from ..contract.spec import Spec
from ..errors import UserError
from ..git import head
from ..local.scheduler import RunOptions, run_spec
from . import options, say, say_json
from .follow import show_retry
from .run_local import containers_of


@click.command("doctor")
@click.option("--offline", is_flag=True, help="Ask neither Google nor MLflow.")
@click.option(
    "--on-vertex", "where", flag_value="vertex", help="Look around in a step on Vertex AI, by a job of one task."
)
@click.option("--in-docker", "where", flag_value="docker", help="Run that task in its image, on this machine.")
@click.option("--in-process", "where", flag_value="process", help="Run that task in a process of this machine.")
@click.option("--keep", is_flag=True, help="With --on-vertex: leave the job, which is deleted otherwise.")
@options.image
@options.style
@options.pass_chosen
def command(
    chosen: options.Chosen, offline: bool, where: str | None, keep: bool, image: str | None, style: str
) -> None:
    """Look for what would go wrong on Vertex AI before it does; exit with 1 if there is something."""
    if where and offline:
        raise click.UsageError("--offline asks nobody, and a step asks Google and MLflow. Leave out one of them.")
    lines = []
    for line in _in_a_step(chosen, where, keep, image) if where else _checks(chosen, offline):
        lines.append(line)
        if style == "table":
            _show(line)
    if style == "json":
        say_json([asdict(line) for line in lines])
    click.get_current_context().exit(0 if all(line.ok for line in lines) else 1)


def _checks(chosen: options.Chosen, offline: bool) -> Iterator[Check]:
    can_ask = True
    for line in offline_checks(chosen.project, lambda: chosen.plan, chosen.compile):
        can_ask &= line.ok or not line.needed_to_ask
        yield line
    if can_ask:
        yield check("CI", lambda: check_ci(chosen.project))
    if not offline and can_ask:
        yield from online_checks(chosen.project, lambda: chosen.plan)
    elif not offline:
        say("Google and MLflow were not asked. Correct the lines above first.", err=True)


def _in_a_step(chosen: options.Chosen, where: str, keep: bool, image: str | None) -> Iterator[Check]:
    project = chosen.project
    project.refuse_placeholders("mlflow")
    spec = doctor_spec(chosen.compile(image))
    if where == "vertex":
        job = _on_vertex(chosen, spec, keep)
    else:
        containers = containers_of(chosen, spec) if where == "docker" else None
        job = run_spec(spec, RunOptions(project.path / ".vertexai", project.path, containers=containers))
    yield from findings(job, head(project.path))


def _on_vertex(chosen: options.Chosen, spec: Spec, keep: bool) -> PipelineJob:
    project, name = chosen.project, new_job_name(spec["pipelineInfo"]["name"])
    vertex = Vertex(project.target)
    labels = labels_of(project.package_name, project.env, DOCTOR_TASK)
    where = project.settings_file
    request = make_request(spec, project.settings, name=name, params={}, labels=labels, where=where)
    started, _was_there = vertex.submit(request, name)
    say(f"Job {name}, which takes some minutes: {started.url}", err=True)
    job = vertex.follow(name, lambda task: None, show_retry)
    try:
        if not keep:
            vertex.delete(name)
    except UserError as error:
        say(f"The job was not deleted: {error}", colour="yellow", err=True)
    return job


def _show(line: Check) -> None:
    mark, colour = ("!", "yellow") if line.doubtful else ("✓", "green") if line.ok else ("✗", "red")
    say(mark, colour, nl=False)
    say(f" {line.name:<17} {line.message}")
