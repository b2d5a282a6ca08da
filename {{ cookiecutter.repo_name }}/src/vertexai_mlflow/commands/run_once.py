"""``kedro vertexai run-once``"""

import functools
import os
from dataclasses import dataclass, fields
from typing import Any

import click

from ..checks.offline import offline
from ..checks.uploads import refuse_launch_without_data
from ..cloud.client import Vertex
from ..cloud.request import check_job_id, labels_of, labels_of_code, make_request
from ..contract import names
from ..contract.job import new_job_name
from ..contract.uploaded import Code
from ..errors import UserError
from ..git import head
from ..image.docker import build_and_push, project_mismatch, refuse_other_version, wrong_platform
from ..project import Project
from . import options, say, say_json, working_tree
from .follow import exit_code, follow


@dataclass(frozen=True)
class Launching:
    """How a job is launched: the options that ``run-once`` and ``resume`` share."""

    image: str | None
    job_id: str | None
    dry_run: bool
    wait_for_completion: bool
    auto_build: bool
    yes: bool
    upload_code: bool


def launching(command: options.Command) -> options.Command:
    """Options of the commands that launch a job; the command gets them as ``how``."""

    @functools.wraps(command)
    def with_launching(*arguments: Any, **values: Any) -> None:
        how = Launching(**{field.name: values.pop(field.name) for field in fields(Launching)})
        command(*arguments, how=how, **values)

    decorated = options.upload_code(with_launching)
    for option in (
        click.option("--yes", is_flag=True, help="With --auto-build: do not ask."),
        click.option(
            "--auto-build", is_flag=True, help="First build the image, push it, and run what was pushed, by digest."
        ),
        options.wait_for_completion,
        click.option("--dry-run", is_flag=True, help="Print the request, and send nothing."),
        click.option("--job-id", help="Id of the job; asking again with the same one starts no second job."),
        options.image,
    ):
        decorated = option(decorated)
    return decorated


@click.command("run-once")
@launching
@options.pass_chosen
def command(chosen: options.Chosen, how: Launching) -> None:
    """Launch a pipeline on Vertex AI, once."""
    launch(chosen, how)


def launch(chosen: options.Chosen, how: Launching) -> None:
    """Launch what was chosen."""
    if how.job_id:
        check_job_id(how.job_id)
    environment, project = chosen.environment, chosen.project
    packed = _packed(project, how.auto_build) if how.upload_code else None
    compile_ = functools.cache(lambda: chosen.compile(how.image, code=packed))
    checks = list(offline(project, lambda: chosen.plan, compile_))
    if wrong := [check for check in checks if not check.ok]:
        raise UserError(
            "\n".join(["Nothing was launched.", *(f"✗ {check.name:<17} {check.message}" for check in wrong)])
        )
    environment.warn(check.message for check in checks if check.doubtful)
    if not how.dry_run:
        environment.warn(refuse_launch_without_data(project, chosen.plan))
    target, run_config = project.target, project.settings.run_config
    name_of_image = how.image or run_config.image
    if how.auto_build and not how.dry_run:
        if not how.yes:
            click.confirm(f"Build and push {name_of_image}?", abort=True)
        digest = build_and_push(project.path, name_of_image)
        spec = chosen.compile(digest)
        say(f"Image:     {digest}")
    else:
        refuse_other_version(name_of_image)
        spec = compile_()
        if doubt := project_mismatch(project.package_name, name_of_image, "" if packed else head(project.path)):
            environment.warn([doubt])
        if unfit := wrong_platform(name_of_image):
            environment.warn([f"{unfit} If this is what was pushed, push it again: {environment.kedro} push"])
    spec = options.launched_from(project.path, spec)
    name = how.job_id or new_job_name(spec["pipelineInfo"]["name"])
    labels = labels_of(project.package_name, project.env, chosen.launch.pipeline, chosen.launch.name)
    if packed:
        labels |= labels_of_code(packed)
        own_images = sorted({step.resources.image for step in chosen.plan.steps if step.resources.image})
        environment.warn(
            f"{image} is a step's own image. It must be built from today's requirements.lock." for image in own_images
        )
    where = project.settings_file
    request = make_request(spec, project.settings, name=name, params=project.params, labels=labels, where=where)
    if how.dry_run:
        say_json(request)
        return
    vertex = Vertex(target)
    if packed:
        working_tree.send(packed)
    job, was_there = vertex.submit(request, name)
    say(f"Job {name} exists already ({job.state}); no second one was started." if was_there else f"Job {name}")
    if not was_there:
        chosen.show_taken()
    say(f"Vertex AI: {job.url}")
    say(f"MLflow:    {project.mlflow_tracking_uri}, the run with tags.{names.JOB_NAME_TAG} = '{name}'")
    if run_config.experiment_name and not was_there:
        try:
            vertex.join_experiment(name, run_config.experiment_name, run_config.experiment_description)
        except UserError as error:  # the job runs by now, so this is a warning and no failure
            say(f"The job is not in experiment {run_config.experiment_name}: {error}", colour="yellow", err=True)
    if how.wait_for_completion:
        click.get_current_context().exit(exit_code(follow(environment, vertex, name)))


def _packed(project: Project, auto_build: bool) -> Code:
    """The code to be uploaded; a pipeline root that is no bucket is refused with the request."""
    if auto_build:
        raise click.UsageError("--auto-build makes an image of this code, so it does not go with --upload-code.")
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise UserError("--upload-code is for your own machine. CI launches an image by its digest: --image")
    return working_tree.packed(project, project.settings.run_config.root or "")
