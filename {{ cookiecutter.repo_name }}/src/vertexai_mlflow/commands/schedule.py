"""``kedro vertexai schedule``"""

from typing import Any

import click

from ..checks.uploads import refuse_launch_without_data
from ..cloud import schedules
from ..cloud.client import Vertex
from ..cloud.request import ENTRY, Request, label_value, labels_of, make_request
from ..contract.launch import Launch
from ..errors import UserError
from ..project import Project
from . import options, say

_COLOURS = {"created": "green", "deleted": "red", "unchanged": None}
_WORDING = {
    "left": "kept, although it is no longer in the file (--prune deletes it)",
    "completed": "completed, so it launches nothing any more; only another time or number of runs starts it again",
}


@click.command("schedule")
@click.option("-p", "--pipeline", help="Only this pipeline's schedule.  [default: all of run_config.schedules]")
@options.image
@click.option("--dry-run", is_flag=True, help="Show the difference, and change nothing.")
@click.option("--prune", is_flag=True, help="Delete this environment's schedules that are no longer in the file.")
@options.params
@options.pass_environment
def command(
    environment: options.Environment,
    pipeline: str | None,
    image: str | None,
    dry_run: bool,
    prune: bool,
    params: dict[str, Any],
) -> None:
    """Make the schedules on Vertex AI those of run_config.schedules.

    Running it again changes nothing.
    """
    project = environment.project(params)
    run_config, where = project.settings.run_config, project.settings_file
    entries = run_config.schedule_entries
    if not entries and not prune:
        raise UserError(f"{where}: run_config.schedules is empty. To delete the schedules on Vertex AI: --prune")
    environment.warn(project.left_behind)
    target = project.target
    ended = schedules.ended(run_config, where)
    environment.warn(ended.values())
    pipelines = [pipeline] if pipeline else schedules.scheduled_pipelines(run_config.schedules)
    going_on = [name for name in pipelines if schedules.entry_for(name, run_config.schedules, where) not in ended]
    launches = [] if pipeline else [name for name in run_config.launches if name in entries and name not in ended]
    desired = [
        *(_desired(environment, project, name, image) for name in going_on),
        *(_desired_launch(environment, project, name, image) for name in launches),
    ]
    vertex = Vertex(target)
    jobs = [schedule["createPipelineJobRequest"]["pipelineJob"] for schedule in desired]
    existing, labels = vertex.schedules(jobs), labels_of(project.package_name, project.env)
    foreign = schedules.find_foreign(existing, run_config)
    environment.warn(_describe_foreign(schedule) for schedule in foreign if schedules.has_labels(schedule, labels))
    changes = schedules.changes(
        desired,
        [schedule for schedule in existing if schedule not in foreign],
        labels,
        [label_value(entry) for entry in entries if entry not in ended],
        prune,
    )
    for change in changes:
        _show(change, dry_run)
        if not dry_run:
            _apply(vertex, change)


def _desired(environment: options.Environment, whole: Project, pipeline: str, image: str | None) -> Request:
    """The schedule that a pipeline is to have. Runtime parameters of the command count before those of its entry."""
    entries, where = whole.settings.run_config.schedules, whole.settings_file
    entry = schedules.entry_for(pipeline, entries, where)
    project = environment.project({**entries[entry].params, **whole.params})
    launch = Launch(project.package_name, pipeline, params=project.params, env=project.env or "")
    return _schedule(options.Chosen(environment, project, launch), entry, image)


def _desired_launch(environment: options.Environment, whole: Project, name: str, image: str | None) -> Request:
    """The schedule that an entry of ``launches`` is to have. Runtime parameters of the command count before its own."""
    return _schedule(options.choose_launch(environment, name, whole.params), name, image)


def _schedule(chosen: options.Chosen, entry: str, image: str | None) -> Request:
    """The schedule of what was chosen, by an entry of ``run_config.schedule_entries``."""
    environment, project, pipeline = chosen.environment, chosen.project, chosen.launch.pipeline
    run_config, where = project.settings.run_config, project.settings_file
    environment.warn(refuse_launch_without_data(project, chosen.plan))
    # Whoever updates the schedule, and however it was spelled: the same file makes the same schedule.
    spec = options.launched_from(project.path, chosen.compile(image), f"{environment.kedro} schedule", entry)
    labels = labels_of(project.package_name, project.env, pipeline, chosen.launch.name) | {ENTRY: label_value(entry)}
    name = run_config.scheduled_run_name or spec["pipelineInfo"]["name"]
    job = make_request(spec, project.settings, name=name, params=project.params, labels=labels, where=where)
    config = run_config.schedule_entries[entry]
    return schedules.make_schedule(config, job, f"{where}: {schedules.key_of(entry, run_config)}")


def _show(change: schedules.Change, dry_run: bool) -> None:
    wording = _WORDING.get(change.action, change.action)
    if dry_run and change.action in ("created", "updated", "replaced", "deleted"):
        wording = f"would be {wording}"
    schedule = change.wanted or change.there or {}
    say(f"{change.name:<30} {schedule['cron']}: {wording}", colour=_COLOURS.get(change.action, "yellow"))
    for field, (before, after) in (change.differences or {}).items():
        say(f"    {field}: {before} → {after}")


def _describe_foreign(schedule: Request) -> str:
    return (
        f"The schedule {schedule['displayName']} ({schedule['name']}) has this project's labels, but it launches jobs "
        "as another account and below another root. It is taken for another project's, and left alone. If it is yours "
        "from before you changed both, delete it in the console."
    )


def _apply(vertex: Vertex, change: schedules.Change) -> None:
    there = change.there or {}
    if change.action in ("deleted", "replaced"):
        vertex.delete_schedule(there["name"])
    if change.wanted and change.action in ("created", "replaced"):
        vertex.create_schedule(change.wanted, paused=there.get("state") == "PAUSED")
    if change.wanted and change.action == "updated":
        fields = {field.split(".")[0] for field in change.differences or {}}
        vertex.update_schedule(there["name"], change.wanted, sorted(fields))
