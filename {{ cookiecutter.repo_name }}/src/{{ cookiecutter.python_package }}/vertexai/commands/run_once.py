"""``kedro vertexai run-once``"""

import functools
import json
from typing import TYPE_CHECKING, Any

import click

from . import options
from .watch import exit_code, watch

if TYPE_CHECKING:
    from ..client import Vertex


@click.command("run-once")
@options.pipeline
@options.params
@options.image
@click.option("--job-id", help="Id of the job; asking again with the same one starts no second job.")
@click.option("--dry-run", is_flag=True, help="Print the request, and send nothing.")
@options.wait_for_completion
@click.option("--auto-build", is_flag=True, help="First build the image, push it, and run what was pushed, by digest.")
@click.option("--yes", is_flag=True, help="With --auto-build: do not ask.")
@options.selection
@options.pass_environment
@click.pass_context
def command(
    ctx: click.Context,
    environment: options.Environment,
    pipeline: str,
    params: dict[str, Any],
    image: str | None,
    job_id: str | None,
    dry_run: bool,
    wait_for_completion: bool,
    auto_build: bool,
    yes: bool,
    selection: dict[str, Any],
) -> None:
    """Launch a pipeline on Vertex AI, once."""
    from .. import doctor
    from ..docker import build_and_push, doubts
    from ..errors import UserError
    from ..job import new_job_name
    from ..request import check_job_id, labels_of, make_request, target

    if job_id:
        check_job_id(job_id)
    project = environment.project(params)
    plan = functools.cache(lambda: project.plan(pipeline, selection))
    compile_ = functools.cache(lambda: project.compile(plan(), image))
    if wrong := [check for check in doctor.offline(project, plan, compile_) if not check.ok]:
        raise UserError("\n".join(["Nothing was launched.", *(f"✗ {check.name:<14} {check.said}" for check in wrong)]))
    options.warn(plan())
    settings, where = project.settings, project.settings_file
    to = target(settings, where)
    if auto_build and not dry_run:
        name = image or settings.run_config.image
        if not yes:
            click.confirm(f"Build and push {name}?", abort=True)
        digest = build_and_push(project.path, name)
        spec = project.compile(plan(), digest)
        click.echo(f"Image:     {digest}")
    else:
        spec = compile_()
        if doubt := doubts(project.path, project.package_name, image or settings.run_config.image):
            click.secho(f"Warning: {doubt}", fg="yellow", err=True)
    name = job_id or new_job_name(spec["pipelineInfo"]["name"])
    labels = labels_of(project.package_name, project.env, pipeline)
    request = make_request(spec, settings.run_config, name=name, params=params, labels=labels, where=where)
    if dry_run:
        click.echo(json.dumps(request, indent=2))
        return
    vertex = environment.vertex(to)
    job, was_there = vertex.submit(request, name)
    click.echo(f"Job {name} is there already ({job.state}); no second one was started." if was_there else f"Job {name}")
    click.echo(f"Vertex AI: {job.url}")
    click.echo(f"MLflow:    {project.mlflow_tracking_uri}, run {name}")
    experiment = settings.run_config.experiment_name
    if experiment and not was_there:
        _join_experiment(vertex, name, experiment, settings.run_config.experiment_description)
    if wait_for_completion:
        ctx.exit(exit_code(watch(environment, vertex, name)))


def _join_experiment(vertex: "Vertex", job_id: str, experiment: str, description: str | None) -> None:
    """The job runs by now: whatever is amiss with its experiment is no reason to say that it does not."""
    from ..errors import UserError

    try:
        vertex.join_experiment(job_id, experiment, description)
    except UserError as error:
        click.secho(f"Not associated with experiment {experiment}: {error}", fg="yellow", err=True)
