"""What a pull request changes in the plans of a project's pipelines."""

import json
from dataclasses import replace

import pytest
from kedro.pipeline import Pipeline, node

from vertexai_mlflow.compile.difference import as_record, changed_steps, schedules_as_record
from vertexai_mlflow.compile.plan import Surroundings, make_plan
from vertexai_mlflow.settings.models import RunConfig, ScheduleConfig
from vertexai_mlflow.show.plan_difference import as_markdown

# Nothing has to be in a catalog.
SURROUNDINGS = Surroundings(hooks=["a hook that adds x0"])


def double(x):
    return x


def record(nodes=("a", "b"), **run_config):
    chain = Pipeline([node(double, f"x{number}", f"x{number + 1}", name=name) for number, name in enumerate(nodes)])
    config = RunConfig.model_validate({"image": "i", **run_config})
    plan = make_plan("training", chain, config, lambda name: None, SURROUNDINGS)
    plan = replace(plan, steps=tuple(replace(step, fingerprint="code-parameters-entries") for step in plan.steps))
    # As it comes from another process.
    return json.loads(json.dumps(as_record(plan)))


def test_what_cannot_be_compared_is_said():
    step = {**record()["a"], "fingerprint": "unknown-parameters-entries"}
    assert changes({"a": step}, {"a": step}) == [("training", "a", "its code cannot be compared")]


def changes(before, after):
    return list(changed_steps({"training": before}, {"training": after}))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (record(), record(), []),
        (record(), record(["a", "b", "c"]), [("training", "c", "added")]),
        (record(["a", "b"]), record(["a"]), [("training", "b", "removed")]),
        (
            record(resources={"b": {"memory": "2Gi"}}),
            record(resources={"b": {"memory": "4Gi", "gpu": 1}}),
            [("training", "b", "resources: memory 2Gi → 4Gi, gpu unset → 1")],
        ),
        (record(), record(caching={"a": True}), [("training", "a", "cached: False → True")]),
        (
            record(),
            record(grouping={"cls": "ChainNodeGrouper"}),
            [("training", "a-to-b", "added"), ("training", "a", "removed"), ("training", "b", "removed")],
        ),
    ],
)
def test_what_changes_about_a_step_is_named(before, after, expected):
    assert [change for change in changes(before, after) if change[1]] == expected


def test_a_change_of_code_is_named_by_its_part():
    before = record()
    after = {**before, "a": {**before["a"], "fingerprint": "other-parameters-entries"}}
    assert changes(before, after) == [("training", "a", "its code changed")]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"new": {"a": {}}}, ("new", "", "added, 1 steps: a")),
        ({"old": {"a": {}}}, {}, ("old", "", "removed")),
        ({"p": {"a": {}}}, {"p": "Dataset 'x' is lost."}, ("p", "", "Dataset 'x' is lost.")),
        ({"p": "Dataset 'x' is lost."}, {"p": {"a": {}}}, ("p", "", "can be planned again, 1 steps")),
    ],
)
def test_pipelines_come_and_go(before, after, expected):
    assert list(changed_steps(before, after)) == [expected]


def test_the_comment_has_equal_changes_in_one_row_and_the_schedules():
    def state(memory, cron):
        schedules = {"nightly": ScheduleConfig(cron_expression=cron)} if cron else {}
        plans = {"training": record(resources={"__default__": {"memory": memory}}), "other": {}}
        return {"pipelines": plans, "schedules": schedules_as_record(schedules)}

    text = as_markdown(state("2Gi", "0 6 * * *"), state("4Gi", "0 7 * * *"), "cloud")
    assert "| training | a, b | resources: memory 2Gi → 4Gi |" in text
    assert r"| nightly | cron_expression 0 6 \* \* \* → 0 7 \* \* \* |" in text
    assert text.endswith("Unchanged: other")
    assert "added: cron" in as_markdown(state("2Gi", ""), state("2Gi", "0 6 * * *"), "cloud")
    same = as_markdown(state("2Gi", ""), state("2Gi", ""), "cloud")
    assert same == "### Plans in cloud\n\nNo step changes.\n\nNo schedule changes."


def test_names_are_shown_as_text_and_a_comment_has_an_end():
    plans = {f"<img src=x>|{number}": "an error" for number in range(300)}
    text = as_markdown({"pipelines": {}, "schedules": {}}, {"pipelines": plans, "schedules": {}}, "")
    assert r"\<img src=x\>\|0" in text
    assert "… and 200 more changes" in text


def test_what_could_not_be_read_is_said():
    after = {"pipelines": {}, "schedules": {}}
    assert as_markdown({"error": "No such command 'plans'."}, after, "").endswith("No such command 'plans'.")
