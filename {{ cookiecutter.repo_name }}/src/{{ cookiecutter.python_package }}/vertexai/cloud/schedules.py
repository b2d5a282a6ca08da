"""``run_config.schedules`` and the schedules that there are → what has to be done so that the two agree.

Pure: ``client`` does it. Schedules are in the JSON of the REST API, and are found again by the labels of the jobs they
launch: another project's, environment's or person's schedule is never looked at twice.
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.schedules
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from ...errors import UserError, did_you_mean
from ..contract import leaves
from ..settings.models import ScheduleConfig
from .request import ENTRY, PIPELINE, Request

DEFAULT_ENTRY = "default_schedule"

# What can be changed in place; the rest is in the job, which has a fingerprint.
_FIELDS = (
    "displayName", "cron", "startTime", "endTime", "maxRunCount", "maxConcurrentRunCount", "allowQueueing",
)  # fmt: skip
_JOB = "createPipelineJobRequest"
_PATH = f"{_JOB}.pipelineJob"


@dataclass(frozen=True)
class Change:
    """What has to be done about one schedule.

    Args:
        action: created, updated, replaced, deleted, unchanged, or left: it is in the file no more, but nobody said
            that such schedules are to be deleted.
        pipeline: label of the pipeline that it launches.
        wanted: the schedule by the file.
        there: the schedule that there is.
        differences: field → what it is and what it is to be, for people.
    """

    action: str
    pipeline: str
    wanted: Request | None = None
    there: Request | None = None
    differences: Mapping[str, tuple[Any, Any]] | None = None


def entry_for(pipeline: str, schedules: Mapping[str, ScheduleConfig], where: str) -> str:
    """The entry of ``run_config.schedules`` that a pipeline goes by: its own, else ``default_schedule``.

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
    """The pipelines that the file schedules: those it names, and ``__default__`` by ``default_schedule``."""
    named = [entry for entry in schedules if entry != DEFAULT_ENTRY]
    return named + (["__default__"] if DEFAULT_ENTRY in schedules and "__default__" not in schedules else [])


def validate(entry: ScheduleConfig, where: str) -> None:
    """Refuse what Vertex AI would refuse.

    Args:
        entry: of ``run_config.schedules``.
        where: its file and key, for the message.

    Raises:
        UserError: when cron expression, time zone or times are wrong.
    """
    try:
        ZoneInfo(entry.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        hint = did_you_mean(entry.timezone, available_timezones()) if "/" in entry.timezone else ""
        cure = hint or " It takes a name of the IANA time zone database, e.g. Europe/Berlin."
        raise UserError(f"{where}.timezone: {entry.timezone} is not a time zone.{cure}") from None
    cron = entry.cron_expression
    try:
        if len(cron.split()) != 5 or not re.fullmatch(r"([\d*/,\s-]|[A-Za-z]{3})+", cron):
            raise CronSimError("it takes five fields: minute, hour, day of month, month, day of week")
        next_run(entry)
    except CronSimError as error:
        raise UserError(
            f"{where}.cron_expression: '{cron}' is not a schedule ({error}); '0 6 * * MON-FRI' would be one."
        ) from None
    if entry.end_time and entry.end_time <= (entry.start_time or datetime.now(UTC)):
        raise UserError(f"{where}.end_time: {entry.end_time.isoformat()} is over before the schedule begins.")


def make_schedule(entry: ScheduleConfig, job: Request, where: str) -> Request:
    """The schedule to have.

    Args:
        entry: of ``run_config.schedules``.
        job: the pipeline job that it launches, see ``request``.
        where: the entry's file and key, for the message.

    Raises:
        UserError: when cron expression, time zone or times are wrong.
    """
    validate(entry, where)
    schedule: Request = {
        "displayName": job["displayName"],
        "cron": f"TZ={entry.timezone} {entry.cron_expression}",
        "maxConcurrentRunCount": str(entry.max_concurrent_run_count),
        "allowQueueing": entry.allow_queueing,
        _JOB: {"pipelineJob": job},
    }
    if entry.start_time:
        schedule["startTime"] = _rfc3339(entry.start_time)
    if entry.end_time:
        schedule["endTime"] = _rfc3339(entry.end_time)
    if entry.max_run_count:
        schedule["maxRunCount"] = str(entry.max_run_count)
    return schedule


def next_run(entry: ScheduleConfig) -> datetime:
    """When a schedule launches its next run."""
    zone = ZoneInfo(entry.timezone)
    now = datetime.now(zone)
    return next(CronSim(entry.cron_expression, max(now, (entry.start_time or now).astimezone(zone))))


def changes(
    wanted: Iterable[Request],
    there: Iterable[Request],
    labels: Mapping[str, str],
    entries: Iterable[str],
    prune: bool,
) -> list[Change]:
    """Compare the schedules to have with those that there are.

    Args:
        wanted: the former.
        there: the latter, oldest first, whoever's they are.
        labels: project and environment, by which our own are told from others'.
        entries: labels of the entries that the file has now.
        prune: whether schedules of entries that it has no more are deleted.
    """
    ours = [schedule for schedule in there if labels.items() <= _labels(schedule).items()]
    first = {_pipeline(schedule): schedule for schedule in reversed(ours)}  # the oldest one is set last and stays
    found = [_change(schedule, first.get(_pipeline(schedule))) for schedule in wanted]
    changed, entries = {change.pipeline for change in found}, set(entries)
    for schedule in ours:
        # A second schedule of one pipeline is nobody's wish: two commands ran side by side.
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
        # The service sets the start time itself when it is not given.
        if not _equal(there.get(field), wanted.get(field)) and (field != "startTime" or field in wanted)
    }
    if _labels(there) != _labels(wanted):  # one of them is the fingerprint of the job
        differences |= _job_differences(there, wanted)
    if not differences:
        return Change("unchanged", pipeline, wanted, there)
    # What is set cannot be unset, and what is completed not be changed: the service says so.
    unset = any(after is None for _before, after in differences.values())
    action = "replaced" if unset or there.get("state") == "COMPLETED" else "updated"
    return Change(action, pipeline, wanted, there, differences)


def _job_differences(there: Request, wanted: Request) -> dict[str, tuple[Any, Any]]:
    """Which parts of the job differ; a spec is too long to be shown."""
    before, after = (_parts(schedule) for schedule in (there, wanted))
    found = {
        part: (before.get(part), after.get(part))
        for part in sorted({*before, *after})
        if before.get(part) != after.get(part)
    }
    if f"{_PATH}.pipelineSpec" in found:
        found[f"{_PATH}.pipelineSpec"] = ("another", "this one")
    return found or {f"{_PATH}.labels": (_labels(there), _labels(wanted))}


def _parts(schedule: Request) -> dict[str, Any]:
    """The parts of a schedule's job by their dotted names; without names and labels, and with the spec as one part."""
    job = schedule[_JOB]["pipelineJob"]
    rest = {key: value for key, value in job.items() if key not in ("displayName", "labels", "pipelineSpec")}
    return {f"{_PATH}.pipelineSpec": job.get("pipelineSpec"), **dict(leaves(rest, _PATH))}


def _pipeline(schedule: Request) -> str:
    return _labels(schedule).get(PIPELINE, "")


def _labels(schedule: Request) -> dict[str, str]:
    labels = schedule.get(_JOB, {}).get("pipelineJob", {}).get("labels", {})
    # Vertex AI adds labels of its own.
    return {key: value for key, value in labels.items() if not key.startswith("vertex-ai-")}


def _equal(one: Any, other: Any) -> bool:
    if one == other or {one, other} == {None, False}:  # JSON leaves out what is false
        return True
    try:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    except (TypeError, ValueError):
        return False


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
