"""``kedro vertexai logs``"""

import click

from . import options


@click.command("logs")
@options.job
@click.option("--step", help="Only this task's.")
@options.pass_environment
def command(environment: options.Environment, job: str, step: str | None) -> None:
    """Print what the steps of JOB have printed, all attempts, oldest line first."""
    from ..logs import read_logs
    from ..request import target

    project = environment.project()
    to = target(project.settings, project.settings_file)
    for line in read_logs(to.project_id, environment.vertex(to).get(job), step):
        click.echo(f"{line.time[:19]} {line.severity:<8} {line.task}: {line.text}")
