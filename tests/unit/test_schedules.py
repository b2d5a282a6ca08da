"""Which changes make the schedules on Vertex AI agree with those of the file."""

from typing import Any

import pytest

from vertexai_mlflow.cloud.request import labels_of
from vertexai_mlflow.cloud.schedules import changes, ended, entry_for, make_schedule, scheduled_pipelines, validate
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig, ScheduleConfig

OURS = labels_of("project", "cloud")
WHERE = "vertexai.yml: run_config.schedules.train"


def entry(**values: Any) -> ScheduleConfig:
    return ScheduleConfig(**{"cron_expression": "0 6 * * *", **values})


def job(
    pipeline: str = "train", *, env: str = "cloud", project: str = "project", fingerprint: str = "1", **other: Any
) -> dict:
    labels = labels_of(project, env, pipeline)
    return {
        "displayName": pipeline,
        "labels": {**labels, "kedro_schedule": pipeline, "kedro_fingerprint": fingerprint},
        "runtimeConfig": {"parameterValues": {}},
        "pipelineSpec": {},
        **other,
    }


def there(schedule: dict, number: int = 1, state: str = "ACTIVE") -> dict:
    """The schedule as Vertex AI returns it: with a name and a start time, and without fields that are false."""
    shown = {key: value for key, value in schedule.items() if value is not False}
    return {"startTime": "2026-01-01T00:00:00.123Z", **shown, "name": f"schedules/{number}", "state": state}


def actions(schedule_changes: list) -> list[tuple[str, str]]:
    return [(change.name, change.action) for change in schedule_changes]


def test_a_schedule_is_created_once_and_then_unchanged():
    wanted = make_schedule(entry(), job(), WHERE)
    assert actions(changes([wanted], [], OURS, ["train"], prune=True)) == [("train", "created")]
    assert actions(changes([wanted], [there(wanted)], OURS, ["train"], prune=True)) == [("train", "unchanged")]


def test_a_start_time_may_be_written_in_another_time_zone():
    wanted = make_schedule(entry(start_time="2027-01-01T02:00:00+02:00"), job(), WHERE)
    shown = {**there(wanted), "startTime": "2027-01-01T00:00:00.000000Z"}
    assert actions(changes([wanted], [shown], OURS, ["train"], prune=False)) == [("train", "unchanged")]


@pytest.mark.parametrize(
    ("values", "differences"),
    [
        ({"cron_expression": "0 7 * * *"}, {"cron": ("TZ=Etc/UTC 0 6 * * *", "TZ=Etc/UTC 0 7 * * *")}),
        ({"timezone": "Europe/Berlin"}, {"cron": ("TZ=Etc/UTC 0 6 * * *", "TZ=Europe/Berlin 0 6 * * *")}),
        ({"max_run_count": 3}, {"maxRunCount": (None, "3")}),
        (
            {"max_concurrent_run_count": 2},
            {"maxConcurrentRunCount": ("1", "2"), "maxConcurrentActiveRunCount": ("1", "2")},
        ),
        ({"allow_queueing": True}, {"allowQueueing": (None, True)}),
        ({"end_time": "2100-01-01T00:00:00Z"}, {"endTime": (None, "2100-01-01T00:00:00Z")}),
    ],
)
def test_a_changed_field_is_updated_in_place_and_shown(values, differences):
    before = there(make_schedule(entry(), job(), WHERE))
    (change,) = changes([make_schedule(entry(**values), job(), WHERE)], [before], OURS, ["train"], prune=False)
    assert change.action == "updated"
    assert change.differences == differences


def test_a_changed_parameter_of_the_job_is_shown_by_its_name():
    before = there(
        make_schedule(entry(), job(runtimeConfig={"parameterValues": {"params": {"n": 1.0, "m": 1}}}), WHERE)
    )
    after = job(fingerprint="2", runtimeConfig={"parameterValues": {"params": {"n": 2, "m": 1}}})
    (change,) = changes([make_schedule(entry(), after, WHERE)], [before], OURS, ["train"], prune=False)
    assert change.action == "updated"
    assert change.differences == {
        "createPipelineJobRequest.pipelineJob.runtimeConfig.parameterValues.params.n": (1.0, 2)
    }


def test_a_changed_spec_is_named_and_not_printed():
    before = there(make_schedule(entry(), job(pipelineSpec={"a": 1}), WHERE))
    after = make_schedule(entry(), job(fingerprint="2", pipelineSpec={"a": 2}), WHERE)
    (change,) = changes([after], [before], OURS, ["train"], prune=False)
    assert change.differences == {"createPipelineJobRequest.pipelineJob.pipelineSpec": ("another", "this one")}


def test_a_schedule_is_replaced_if_a_field_has_to_be_unset():
    before = there(make_schedule(entry(max_run_count=3), job(), WHERE))
    (change,) = changes([make_schedule(entry(), job(), WHERE)], [before], OURS, ["train"], prune=False)
    assert change.action == "replaced"


def test_a_completed_schedule_is_replaced_when_it_changes_and_not_before():
    wanted = make_schedule(entry(max_run_count=3), job(), WHERE)
    done = there(wanted, state="COMPLETED")
    assert actions(changes([wanted], [done], OURS, ["train"], prune=False)) == [("train", "unchanged")]
    more = make_schedule(entry(max_run_count=5), job(), WHERE)
    assert actions(changes([more], [done], OURS, ["train"], prune=False)) == [("train", "replaced")]


def test_a_schedule_that_has_left_the_file_is_deleted_only_with_prune():
    old = there(make_schedule(entry(), job("old"), WHERE))
    assert actions(changes([], [old], OURS, ["train"], prune=False)) == [("old", "left")]
    assert actions(changes([], [old], OURS, ["train"], prune=True)) == [("old", "deleted")]


def test_a_schedule_of_a_pipeline_that_was_not_chosen_is_left_alone():
    other = there(make_schedule(entry(), job("other"), WHERE))
    wanted = make_schedule(entry(), job(), WHERE)
    assert actions(changes([wanted], [other], OURS, ["train", "other"], prune=True)) == [("train", "created")]


@pytest.mark.parametrize("stranger", [job(env="prod"), job(project="another"), {"displayName": "train", "labels": {}}])
def test_a_schedule_of_somebody_else_is_not_touched_even_with_the_same_display_name(stranger):
    wanted = make_schedule(entry(), job(), WHERE)
    theirs = {"displayName": "train", "createPipelineJobRequest": {"pipelineJob": stranger}}
    others = there({**make_schedule(entry(), job(), WHERE), **theirs})
    assert actions(changes([wanted], [others], OURS, ["train"], prune=True)) == [("train", "created")]


def test_of_two_schedules_of_one_pipeline_the_older_one_stays():
    wanted = make_schedule(entry(), job(), WHERE)
    schedule_changes = changes([wanted], [there(wanted, 1), there(wanted, 2)], OURS, ["train"], prune=True)
    assert actions(schedule_changes) == [("train", "unchanged"), ("train", "deleted")]
    assert schedule_changes[1].there["name"] == "schedules/2"


def test_a_pipeline_uses_its_own_entry_or_else_the_default():
    entries = {"default_schedule": entry(), "train": entry()}
    assert entry_for("train", entries, "f") == "train"
    assert entry_for("other", entries, "f") == "default_schedule"
    assert scheduled_pipelines(entries) == ["train", "__default__"]
    with pytest.raises(
        UserError, match=r"f: run_config.schedules has neither 'trian' nor 'default_schedule'. Did you mean 'train'"
    ):
        entry_for("trian", {"train": entry()}, "f")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"cron_expression": "61 * * * *"}, ".cron_expression: '61 * * * *' is not a cron expression (Bad minute)"),
        ({"cron_expression": "0 6 * *"}, "is not a cron expression (it takes five fields"),
        ({"cron_expression": "0 0 6 * * *"}, "is not a cron expression (it takes five fields"),
        ({"cron_expression": "0 0 L * *"}, "is not a cron expression"),
        ({"cron_expression": "0 0 30 2 *"}, "is not a cron expression (Bad day-of-month)"),
        ({"timezone": "Europe/Berlim"}, ".timezone: Europe/Berlim is not a time zone. Did you mean 'Europe/Berlin'?"),
        ({"timezone": "CEST"}, ".timezone: CEST is not a time zone. Use a name from the IANA time zone database"),
        ({"timezone": "../etc/passwd"}, ".timezone: ../etc/passwd is not a time zone."),
        (
            {"start_time": "2030-01-02T00:00:00Z", "end_time": "2030-01-01T00:00:00Z"},
            ".end_time: 2030-01-01T00:00:00+00:00 is before the schedule begins.",
        ),
    ],
)
def test_a_schedule_that_vertex_would_refuse_is_refused_before_it_is_sent(values, sentence):
    with pytest.raises(UserError) as error:
        validate(entry(**values), WHERE)
    assert str(error.value).startswith(WHERE)
    assert sentence in str(error.value)


def test_only_an_entry_whose_last_moment_has_passed_has_ended():
    entries = {
        "over": entry(end_time="2020-01-01T00:00:00Z"), "later": entry(end_time="2100-01-01T00:00:00Z"), "ever": entry(),
    }  # fmt: skip
    for one in entries.values():
        validate(one, WHERE)
    assert list(ended(RunConfig(image="i", schedules=entries), "f")) == ["over"]


def launched(name: str) -> dict:
    """The schedule of a launch of one pipeline; without a name, that of the pipeline."""
    labels = {"kedro_launch": name, "kedro_schedule": name} if name else {}
    return make_schedule(entry(), job(labels={**job()["labels"], **labels}), WHERE)


def test_launches_of_one_pipeline_have_a_schedule_each():
    names = ["nightly", "weekly", ""]
    entries = ["nightly", "weekly", "train"]
    shown = ["launch nightly", "launch weekly", "train"]
    desired = [launched(name) for name in names]
    assert actions(changes(desired, [], OURS, entries, prune=True)) == [(name, "created") for name in shown]
    existing = [there(launched(name), number) for number, name in enumerate(names)]
    assert actions(changes(desired, existing, OURS, entries, prune=True)) == [(name, "unchanged") for name in shown]
    removed = changes(desired[1:], existing, OURS, entries[1:], prune=True)
    assert ("launch nightly", "deleted") in actions(removed)
    # Where Vertex AI lists no labels, the mark in the name tells them apart.
    for schedule in existing:
        del schedule["createPipelineJobRequest"]["pipelineJob"]["labels"]
    assert actions(changes(desired, existing, OURS, entries, prune=True)) == [(name, "unchanged") for name in shown]
