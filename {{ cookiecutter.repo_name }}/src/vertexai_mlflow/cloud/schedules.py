"""Compare ``run_config.schedules`` with the schedules on Vertex AI, and list the changes that make them agree.

These functions only compare; ``client`` makes the changes. Schedules are in the JSON of the REST API. Our own schedules
are recognised by the labels of the jobs that they launch, or by a mark in their name if Vertex AI lists no labels, so
those of another project or environment are never touched.
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.schedules
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from ..contract.params import merged
from ..errors import UserError, did_you_mean
from ..settings.models import DEFAULT_ENTRY, RunConfig, ScheduleConfig
from .request import (
    ENTRY,
    ENV,
    FINGERPRINT,
    LAUNCH,
    PIPELINE,
    PROJECT,
    Request,
    find_differences,
    is_elsewhere,
    label_value,
)

_TIMING_FIELDS = (
    "cron", "startTime", "endTime", "maxRunCount", "maxConcurrentRunCount", "maxConcurrentActiveRunCount",
    "allowQueueing",
)  # fmt: skip
# The fields that are compared. Everything else is in the job.
_FIELDS = ("displayName", *_TIMING_FIELDS)
_JOB_REQUEST = "createPipelineJobRequest"
_JOB_PATH = f"{_JOB_REQUEST}.pipelineJob"


@dataclass(frozen=True)
class Change:
    """What to do with one schedule.

    Args:
        action: created, updated, replaced, deleted, unchanged, completed or left. A completed schedule launches nothing
            more, and only another time or number of runs would start it again. A schedule is left if the file no longer
            has an entry for it, and the user did not ask to delete such schedules.
        name: label of the pipeline that it launches, or of the entry of ``run_config.launches``.
        wanted: the schedule that the file describes, if any.
        there: the schedule on Vertex AI, if any.
        differences: by field, its value on Vertex AI and its value in the file, to show to the user.
    """

    action: str
    name: str
    wanted: Request | None = None
    there: Request | None = None
    differences: Mapping[str, tuple[Any, Any]] | None = None


def entry_for(pipeline: str, schedules: Mapping[str, ScheduleConfig], where: str) -> str:
    """Find the entry of ``run_config.schedules`` for a pipeline: its own, otherwise ``default_schedule``.

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
    pipelines = [entry for entry in schedules if entry != DEFAULT_ENTRY]
    return pipelines + (["__default__"] if DEFAULT_ENTRY in schedules and "__default__" not in schedules else [])


def key_of(name: str, run_config: RunConfig) -> str:
    """The key of an entry of ``run_config.schedule_entries``."""
    return f"run_config.schedules.{name}" if name in run_config.schedules else f"run_config.launches.{name}.schedule"


def ended(run_config: RunConfig, where: str) -> dict[str, str]:
    """A message for each entry whose end_time has passed, so that Vertex AI no longer accepts it.

    Args:
        run_config: ``run_config`` of ``vertexai.yml``.
        where: the file, for the message.
    """
    now = datetime.now(UTC)
    return {
        name: f"{where}: {key_of(name, run_config)} has ended ({entry.end_time.isoformat()}). Remove it, or give "
        "it another end_time."
        for name, entry in run_config.schedule_entries.items()
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
        advice = hint or " Use a name from the IANA time zone database, such as Europe/Berlin."
        raise UserError(f"{where}.timezone: {entry.timezone} is not a time zone.{advice}") from None
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
        "displayName": f"{job['displayName'][:60]} [{_make_mark(job['labels'])}]",
        "cron": f"TZ={entry.timezone} {entry.cron_expression}",
        # The first one, which is required, limits how many jobs are started at once; the other one, active jobs.
        "maxConcurrentRunCount": str(entry.max_concurrent_run_count),
        "maxConcurrentActiveRunCount": str(entry.max_concurrent_run_count),
        "allowQueueing": entry.allow_queueing,
        _JOB_REQUEST: {"pipelineJob": job},
    }
    # If the start time is in the past, Vertex AI would catch up on all the runs since then.
    if entry.start_time and entry.start_time > datetime.now(UTC):
        schedule["startTime"] = _format_time(entry.start_time)
    if entry.end_time:
        schedule["endTime"] = _format_time(entry.end_time)
    if entry.max_run_count:
        schedule["maxRunCount"] = str(entry.max_run_count)
    return schedule


def next_run(entry: ScheduleConfig) -> datetime:
    """When a schedule launches its next pipeline job, in the schedule's time zone."""
    zone = ZoneInfo(entry.timezone)
    now = datetime.now(zone)
    return next(CronSim(entry.cron_expression, max(now, (entry.start_time or now).astimezone(zone))))


def find_foreign(existing: Iterable[Request], run_config: RunConfig) -> list[Request]:
    """The schedules whose jobs are of another project, whatever their labels are: they are never changed or deleted.

    Args:
        existing: all schedules on Vertex AI.
        run_config: ``run_config`` of the environment's ``vertexai.yml``.
    """
    return [schedule for schedule in existing if is_elsewhere(*_get_place(schedule), run_config)]


def has_labels(schedule: Request, labels: Mapping[str, str]) -> bool:
    """Whether the jobs that a schedule launches have these labels."""
    return labels.items() <= _get_labels(schedule).items()


def changes(
    desired: Collection[Request],
    existing: Iterable[Request],
    labels: Mapping[str, str],
    entries: Collection[str],
    prune: bool,
) -> list[Change]:
    """Compare the schedules that the file describes with those on Vertex AI.

    Args:
        desired: the schedules that the file describes.
        existing: the schedules on Vertex AI, oldest first, including those of other projects and people, but without
            those of ``find_foreign``.
        labels: labels of this project and environment, by which our own schedules are recognised.
        entries: labels of the entries that the file has now.
        prune: whether to delete our schedules whose entries are no longer in the file.
    """
    labels_by_mark = {_make_mark(_get_labels(schedule)): _get_labels(schedule) for schedule in desired}
    restored = [_restore_labels(schedule, labels_by_mark) for schedule in existing]
    ours = [schedule for schedule in restored if has_labels(schedule, labels)]
    oldest = {_get_name(schedule): schedule for schedule in reversed(ours)}
    result = [_compare(schedule, oldest.get(_get_name(schedule))) for schedule in desired]
    compared = {change.name for change in result}
    for schedule in ours:
        name, entry = _get_name(schedule), _get_labels(schedule).get(ENTRY)
        # Two commands at the same time may have created two schedules of a pipeline. Only the older one is kept.
        is_duplicate = name in compared and schedule is not oldest[name]
        if is_duplicate or (entry is not None and entry not in entries):
            result.append(Change("deleted" if prune else "left", name, there=schedule))
    return result


def _compare(desired: Request, existing: Request | None) -> Change:
    """Decide what to do with a schedule that the file describes. It is updated in place if Vertex AI can do that."""
    if existing is None:
        return Change("created", _get_name(desired), desired)
    differences = {
        field: (existing.get(field), desired.get(field))
        for field in _FIELDS
        # Vertex AI sets the start time itself if the file has none.
        if not _are_equal(existing.get(field), desired.get(field)) and (field != "startTime" or field in desired)
    }
    differences |= _compare_jobs(existing, desired)
    is_completed = existing.get("state") == "COMPLETED"
    removes_value = any(after is None for _before, after in differences.values())
    if not differences:
        action = "unchanged"
    elif is_completed and differences.keys().isdisjoint(_TIMING_FIELDS):
        action = "completed"
    elif is_completed or removes_value:  # Vertex AI can neither change a completed schedule nor clear a field
        action = "replaced"
    else:
        action = "updated"
    return Change(action, _get_name(desired), desired, existing, differences or None)


def _compare_jobs(existing: Request, desired: Request) -> dict[str, tuple[Any, Any]]:
    """Find out what differs in the jobs. Only the labels do if what the project puts into them has changed."""
    before, after = (schedule[_JOB_REQUEST]["pipelineJob"] for schedule in (existing, desired))
    differences = {f"{_JOB_PATH}.{name}": values for name, values in find_differences(before, after).items()}
    labels_before, labels_after = _get_labels(existing), _get_labels(desired)
    # If Vertex AI lists no labels, there is no fingerprint.
    if differences or labels_before == labels_after or FINGERPRINT not in labels_before:
        return differences
    return {f"{_JOB_PATH}.labels": (labels_before, labels_after)}


def _make_mark(labels: Mapping[str, str]) -> str:
    """The end of a schedule's name, which tells project, environment, pipeline and launch as its labels do."""
    names = (PROJECT, ENV, PIPELINE, *([LAUNCH] if LAUNCH in labels else []))
    return label_value("/".join(labels.get(name, "") for name in names))


def _restore_labels(schedule: Request, labels_by_mark: Mapping[str, Mapping[str, str]]) -> Request:
    """Give a schedule that was listed without labels those that belong to the mark in its name, if the mark is ours."""
    mark = schedule.get("displayName", "").rpartition(" [")[2].rstrip("]")
    if _get_labels(schedule) or mark not in labels_by_mark:
        return schedule
    labels = {name: value for name, value in labels_by_mark[mark].items() if name != FINGERPRINT}
    return merged(schedule, {_JOB_REQUEST: {"pipelineJob": {"labels": labels}}})


def _get_place(schedule: Request) -> tuple[str, str]:
    """The account that its jobs run as, and their root."""
    job = schedule.get(_JOB_REQUEST, {}).get("pipelineJob", {})
    return job.get("serviceAccount", ""), job.get("runtimeConfig", {}).get("gcsOutputDirectory", "")


def _get_name(schedule: Request) -> str:
    """What a project has one schedule of: a launch, or else a pipeline."""
    labels = _get_labels(schedule)
    return f"launch {labels[LAUNCH]}" if LAUNCH in labels else labels.get(PIPELINE, "")


def _get_labels(schedule: Request) -> dict[str, str]:
    labels = schedule.get(_JOB_REQUEST, {}).get("pipelineJob", {}).get("labels", {})
    # Vertex AI adds labels of its own.
    return {key: value for key, value in labels.items() if not key.startswith("vertex-ai-")}


def _are_equal(left: Any, right: Any) -> bool:
    if left == right or {left, right} == {None, False}:  # the API leaves out fields that are false
        return True
    try:
        return datetime.fromisoformat(left) == datetime.fromisoformat(right)
    except (TypeError, ValueError):
        return False


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
