"""``kedro vertexai resume``"""

from typing import Any

import click

from ..cloud.client import Vertex
from ..cloud.request import labels_of
from ..contract.job import PipelineJob
from ..errors import UserError
from ..project import Project
from . import options
from .run_once import Launching, launch, launching


def refuse_foreign_job(job: PipelineJob, project: Project) -> None:
    """Refuse to take results of a job that was not launched as this environment launches its own.

    Anybody who may start jobs in the Google project can start one with our labels, and its results are code.

    Raises:
        UserError: naming what differs.
    """
    run_config = project.settings.run_config
    labels = labels_of(project.package_name, project.env)
    differences = [
        f"its {what} is {actual or 'not set'}, not {expected or 'not set'}"
        for what, actual, expected in [
            ("service account", job.service_account, run_config.service_account or ""),
            ("root", job.root.rstrip("/"), (run_config.root or "").rstrip("/")),
            *((f"label {name}", job.labels.get(name, ""), value) for name, value in labels.items()),
        ]
        if actual != expected
    ]
    if differences:
        raise UserError(
            f"Job {job.name} is not resumed, because it is not one of this environment: {'; '.join(differences)}. Its "
            "results may be somebody else's. Launch the pipeline again: run-once."
        )


@click.command("resume")
@options.job
@options.params
@launching
@options.pass_environment
@options.rerun
def command(
    environment: options.Environment, job: str, rerun: list[str], params: dict[str, Any], how: Launching
) -> None:
    """Run the unfinished steps of an earlier job, with today's code and image.

    What the earlier job has finished is taken from it. Runtime parameters are those of that job; --params changes some.
    """
    project = environment.project()
    earlier = Vertex(project.target).get(job)
    refuse_foreign_job(earlier, project)
    launch(options.choose_rest_of(earlier, environment, params, rerun), how)
