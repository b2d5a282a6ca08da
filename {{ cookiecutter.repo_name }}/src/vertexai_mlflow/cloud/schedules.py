"""``run_config.schedules`` and the schedules on Vertex AI → the changes after which the two agree.

These functions only compare; ``client`` makes the changes. Schedules are in the JSON of the REST API. Our own schedules
are recognised by the labels of the jobs that they launch, or by a mark in their name where no labels are listed, so
those of another project or environment are never touched.
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.schedules
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from ..contract import leaves
from ..errors import UserError, did_you_mean
from ..settings.models import ScheduleConfig
from .request import ENTRY, ENV, FINGERPRINT, PIPELINE, PROJECT, Request, label_value

DEFAULT_ENTRY = "default_schedule"

# The fields that can be changed in place. The rest is in the job, which is compared by its fingerprint.
_TIMES = ("cron", "startTime", "endTime", "maxRunCount", "maxConcurrentRunCount", "allowQueueing")
_FIELDS = ("displayName", *_TIMES)
_JOB = "createPipelineJobRequest"
_PATH = f"{_JOB}.pipelineJob"


@dataclass(frozen=True)
class Change:
    """What has to be done with one schedule.

    Args:
        action: created, updated, replaced, deleted, unchanged, completed or left. A completed one launches nothing any
            more, and only other times would start it again. A schedule is left if the file has no entry for it any
            more, but the user did not ask for such schedules to be deleted.
        pipeline: label of the pipeline that it launches.
        wanted: the schedule that the file describes, if any.
        there: the schedule on Vertex AI, if any.
        differences: field → its value on Vertex AI and its value in the file, to show to the user.
    """

    action: str
    pipeline: str
    wanted: Request | None = None
    there: Request | None = None
    differences: Mapping[str, tuple[Any, Any]] | None = None


def entry_for(pipeline: str, schedules: Mapping[str, ScheduleConfig], where: str) -> str:
    """Find the entry of ``run_config.schedules`` for a pipeline: its own, or else ``default_schedule``.

    Raises:
        UserError: when there is neither.
    """
    for entry in (pipeline, DEFAULT_ENTRY):
        if entry in schedules:
            return entry
    raise UserError(
        f"{where}: run_config.schedules has neither '{pipeline}' nor '{DEFAULT_ENTRY}'."
        + did_you_mean(pipeline, schedules)
    )


def scheduled_pipelines(schedules: Mapping[str, ScheduleConfig]) -> list[str]:
    """List the pipelines that the file schedules: those it names, and ``__default__`` by ``default_schedule``."""
    named = [entry for entry in schedules if entry != DEFAULT_ENTRY]
    return named + (["__default__"] if DEFAULT_ENTRY in schedules and "__default__" not in schedules else [])


def ended(schedules: Mapping[str, ScheduleConfig], where: str) -> dict[str, str]:
    """The entries whose end_time has passed, so that Vertex AI no longer accepts them → what is to be said about each.

    Args:
        schedules: ``run_config.schedules``.
        where: the file, for the message.
    """
    now = datetime.now(UTC)
    return {
        name: f"{where}: run_config.schedules.{name} has ended ({entry.end_time.isoformat()}). Remove it, or give "
        "it another end_time."
        for name, entry in schedules.items()
        if entry.end_time and entry.end_time <= now
    }


def validate(entry: ScheduleConfig, where: str) -> None:
    """Refuse an entry that Vertex AI would refuse.

    Args:
        entry: an entry of ``run_config.schedules``.
        where: its file and key, for the message.

    Raises:
        UserError: when cron expression, time zone or times are wrong.
    """
    try:
        ZoneInfo(entry.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        hint = did_you_mean(entry.timezone, available_timezones()) if "/" in entry.timezone else ""
        cure = hint or " Use a name from the IANA time zone database, such as Europe/Berlin."
        raise UserError(f"{where}.timezone: {entry.timezone} is not a time zone.{cure}") from None
    cron = entry.cron_expression
    try:
        if len(cron.split()) != 5 or not re.fullmatch(r"([\d*/,\s-]|[A-Za-z]{3})+", cron):
            raise CronSimError("it takes five fields: minute, hour, day of month, month, day of week")
        next_run(entry)
    except CronSimError as error:
        raise UserError(
            f"{where}.cron_expression: '{cron}' is not a cron expression ({error}). An example is '0 6 * * MON-FRI'."
        ) from None
    if entry.end_time and entry.start_time and entry.end_time <= entry.start_time:
        raise UserError(f"{where}.end_time: {entry.end_time.isoformat()} is before the schedule begins.")


def make_schedule(entry: ScheduleConfig, job: Request, where: str) -> Request:
    """Make the schedule that an entry describes.

    Args:
        entry: an entry of ``run_config.schedules``.
        job: the pipeline job that it launches, made by ``request.make_request``.
        where: the entry's file and key, for the message.

    Raises:
        UserError: when cron expression, time zone or times are wrong.
    """
    validate(entry, where)
    schedule: Request = {
        "displayName": f"{job['displayName'][:60]} [{_mark(job['labels'])}]",
        "cron": f"TZ={entry.timezone} {entry.cron_expression}",
        "maxConcurrentRunCount": str(entry.max_concurrent_run_count),
        "allowQueueing": entry.allow_queueing,
        _JOB: {"pipelineJob": job},
    }
    # From a start time in the past, Vertex AI would make up for all the runs since then.
    if entry.start_time and entry.start_time > datetime.now(UTC):
        schedule["startTime"] = _rfc3339(entry.start_time)
    if entry.end_time:
        schedule["endTime"] = _rfc3339(entry.end_time)
    if entry.max_run_count:
        schedule["maxRunCount"] = str(entry.max_run_count)
    return schedule


def next_run(entry: ScheduleConfig) -> datetime:
    """When a schedule launches its next pipeline job, in the schedule's time zone."""
    zone = ZoneInfo(entry.timezone)
    now = datetime.now(zone)
    return next(CronSim(entry.cron_expression, max(now, (entry.start_time or now).astimezone(zone))))


def changes(
    wanted: Sequence[Request],
    there: Iterable[Request],
    labels: Mapping[str, str],
    entries: Iterable[str],
    prune: bool,
) -> list[Change]:
    """Compare the schedules that the file describes with those on Vertex AI.

    Args:
        wanted: the schedules that the file describes.
        there: all schedules on Vertex AI, oldest first, including those of other projects and people.
        labels: labels of this project and environment, by which our own schedules are recognised.
        entries: labels of the entries that the file has now.
        prune: whether to delete our schedules whose entries the file has no more.
    """
    marked = {_mark(_labels(schedule)): _labels(schedule) for schedule in wanted}
    ours = [_labelled(schedule, marked) for schedule in there]
    ours = [schedule for schedule in ours if labels.items() <= _labels(schedule).items()]
    first = {_pipeline(schedule): schedule for schedule in reversed(ours)}  # the oldest one wins
    found = [_change(schedule, first.get(_pipeline(schedule))) for schedule in wanted]
    changed, entries = {change.pipeline for change in found}, set(entries)
    for schedule in ours:
        # If a pipeline has two schedules, two commands have run at the same time. Only the older one is kept.
        second = _pipeline(schedule) in changed and schedule is not first[_pipeline(schedule)]
        if second or _labels(schedule).get(ENTRY) not in entries | {None}:
            found.append(Change("deleted" if prune else "left", _pipeline(schedule), there=schedule))
    return found


def _change(wanted: Request, there: Request | None) -> Change:
    pipeline = _pipeline(wanted)
    if there is None:
        return Change("created", pipeline, wanted)
    differences = {
        field: (there.get(field), wanted.get(field))
        for field in _FIELDS
        # Vertex AI sets the start time itself when none is given.
        if not _equal(there.get(field), wanted.get(field)) and (field != "startTime" or field in wanted)
    }
    if _labels(there) != _labels(wanted):  # one of the labels is the fingerprint of the job
        differences |= _job_differences(there, wanted)
    if not differences:
        return Change("unchanged", pipeline, wanted, there)
    if there.get("state") == "COMPLETED" and differences.keys().isdisjoint(_TIMES):
        return Change("completed", pipeline, wanted, there, differences)
    # Vertex AI can neither remove the value of a field nor change a schedule that is completed.
    unset = any(after is None for _before, after in differences.values())
    action = "replaced" if unset or there.get("state") == "COMPLETED" else "updated"
    return Change(action, pipeline, wanted, there, differences)


def _job_differences(there: Request, wanted: Request) -> dict[str, tuple[Any, Any]]:
    """Find out which parts of the job differ. A spec is too long to be shown, so it is only named."""
    before, after = (_parts(schedule) for schedule in (there, wanted))
    found = {
        part: (before.get(part), after.get(part))
        for part in sorted({*before, *after})
        if before.get(part) != after.get(part)
    }
    if f"{_PATH}.pipelineSpec" in found:
        found[f"{_PATH}.pipelineSpec"] = ("another", "this one")
    if found or FINGERPRINT not in _labels(there):  # where no labels are listed, the parts alone tell
        return found
    return {f"{_PATH}.labels": (_labels(there), _labels(wanted))}


def _parts(schedule: Request) -> dict[str, Any]:
    """Dotted name → value of each part of a schedule's job, except its name and labels. The spec is one part."""
    job = schedule[_JOB]["pipelineJob"]
    rest = {key: value for key, value in job.items() if key not in ("displayName", "labels", "pipelineSpec")}
    # The API leaves out what is empty.
    parts = {part: value for part, value in leaves(rest, _PATH) if value != {}}
    return {f"{_PATH}.pipelineSpec": job.get("pipelineSpec"), **parts}


def _mark(labels: Mapping[str, str]) -> str:
    """The end of a schedule's name, which says whose it is as its labels do."""
    return label_value("/".join(labels.get(name, "") for name in (PROJECT, ENV, PIPELINE)))


def _labelled(schedule: Request, marked: Mapping[str, Mapping[str, str]]) -> Request:
    """A schedule whose labels were not listed, with those that its mark stands for; any other one as it is."""
    mark = schedule.get("displayName", "").rpartition(" [")[2].rstrip("]")
    if _labels(schedule) or mark not in marked:
        return schedule
    labels = {name: value for name, value in marked[mark].items() if name != FINGERPRINT}
    job = {**schedule[_JOB]["pipelineJob"], "labels": labels}
    return {**schedule, _JOB: {**schedule[_JOB], "pipelineJob": job}}


def _pipeline(schedule: Request) -> str:
    return _labels(schedule).get(PIPELINE, "")


def _labels(schedule: Request) -> dict[str, str]:
    labels = schedule.get(_JOB, {}).get("pipelineJob", {}).get("labels", {})
    # Vertex AI adds labels of its own.
    return {key: value for key, value in labels.items() if not key.startswith("vertex-ai-")}


def _equal(one: Any, other: Any) -> bool:
    if one == other or {one, other} == {None, False}:  # the API leaves out fields that are false
        return True
    try:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    except (TypeError, ValueError):
        return False


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
