"""Which steps of an earlier job run again and which results are taken, found without running anything."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.cloud.request import labels_of, refuse_foreign_job
from vertexai_mlflow.commands.options import show_how_to_go_on
from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.fingerprint import Definitions
from vertexai_mlflow.compile.plan import Plan, make_plan, with_fingerprints
from vertexai_mlflow.compile.resume import finished_steps, resume
from vertexai_mlflow.contract.arguments import StepArguments
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.contract.job import PipelineJob, State, TaskRun
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.params import by_name
from vertexai_mlflow.contract.spec import tasks
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig

CATALOG = {
    "raw": {"type": "pandas.ParquetDataset", "filepath": "gs://bucket/raw.parquet"},
    "remote": {"type": "pandas.ParquetDataset", "filepath": "gs://bucket/remote.parquet"},
    "table": {"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": "db"},
    "files": {"type": "pandas.CSVDataset", "filepath": "data/files.csv"},
}
RUN_CONFIG = RunConfig(image="x", root="gs://bucket/root")
PARAMETERS = {"rate": 1, "other": 2}


def same(*args):
    return args


def changed(*args):
    return list(args)


# Two branches, of which one crosses by a remote file and one by an object, and a step that joins them.
DIAMOND = (
    Node(same, ["raw", "params:rate"], "a", name="first"),
    Node(same, "a", "remote", name="left"),
    Node(same, "a", "b", name="right"),
    Node(same, ["remote", "b"], None, name="join"),
)


def planned(*nodes: Node, parameters: Mapping[str, Any] = PARAMETERS, catalog: Mapping[str, Any] = CATALOG) -> Plan:
    entries = Catalog(dict(catalog), "catalog.yml")
    plan = make_plan("p", Pipeline(nodes), RUN_CONFIG, entries.entry)
    definitions = Definitions(Path.cwd(), by_name(parameters), entries.written, entries.class_of)
    return with_fingerprints(plan, Pipeline(nodes), definitions)


def ended(plan: Plan, **states: str) -> PipelineJob:
    """A job of the plan; a step of another state than SUCCEEDED is named."""
    spec, runs = compile_plan(plan, Launch("demo"), RUN_CONFIG), {}
    for task in tasks(spec):
        state = states.get(task.name, State.SUCCEEDED)
        told = StepArguments.of(task.container.get("args", []))
        keys = {*told.artifacts.values(), *told.files.values(), *told.models.values()}
        made = {key: {"uri": f"gs://bucket/root/old/{task.name}/{key}", "metadata": {"sha256": "1"}} for key in keys}
        if task.importer:
            made = {"artifact": {"uri": "gs://bucket/root/older/x", "metadata": {}}}
        outputs = {"artifacts": made} if state in (State.SUCCEEDED, State.SKIPPED) else None
        runs[task.name] = TaskRun(task.name, "", state, outputs=outputs)
    return PipelineJob("old", "projects/1/locations/r/pipelineJobs/old", State.FAILED, runs, spec=spec)


def resumed(plan: Plan, job: PipelineJob, *again: str, catalog: Mapping[str, Any] = CATALOG) -> Plan:
    return resume(plan, job, again, Catalog(dict(catalog), "catalog.yml").entry)


def names(plan: Plan) -> list[str]:
    return [step.name for step in plan.steps]


def test_of_ten_steps_whose_last_one_has_failed_one_runs():
    nodes = [
        Node(same, "raw" if number == 0 else f"d{number}", f"d{number + 1}", name=f"s{number}") for number in range(10)
    ]
    plan = planned(*nodes)
    again = resumed(plan, ended(plan, s9="FAILED"))
    assert names(again) == ["s9"]
    assert again.must_exist == {"gs://bucket/root/old/s8/data_d9": "s8"}
    executors = compile_plan(again, Launch("demo"), RUN_CONFIG)["deploymentSpec"]["executors"]
    assert sum("container" in executor for executor in executors.values()) == 3  # with the first and the last task
    assert sum("importer" in executor for executor in executors.values()) == 1


@pytest.mark.parametrize(
    ("states", "again", "runs", "taken"),
    [
        ({"join": "FAILED"}, (), ["join"], {"gs://bucket/remote.parquet", "gs://bucket/root/old/right/data_b"}),
        ({"join": "FAILED", "left": "SKIPPED", "right": "SKIPPED"}, (), ["join"], {"gs://bucket/remote.parquet", "gs://bucket/root/old/right/data_b"}),
        ({"right": "FAILED", "join": "NOT_TRIGGERED"}, (), ["right", "join"], {"gs://bucket/root/old/first/data_a", "gs://bucket/remote.parquet"}),
        ({"right": "RUNNING", "join": "PENDING"}, (), ["right", "join"], {"gs://bucket/root/old/first/data_a", "gs://bucket/remote.parquet"}),
        ({"join": "CANCELLED"}, ("left",), ["left", "join"], {"gs://bucket/root/old/first/data_a", "gs://bucket/root/old/right/data_b"}),
        ({"join": "FAILED"}, ("first",), ["first", "left", "right", "join"], set()),
        ({}, ("right",), ["right", "join"], {"gs://bucket/root/old/first/data_a", "gs://bucket/remote.parquet"}),
    ],
)  # fmt: skip
def test_what_has_not_succeeded_runs_with_all_that_follows(states, again, runs, taken):
    plan = planned(*DIAMOND)
    rest = resumed(plan, ended(plan, **states), *again)
    assert sorted(names(rest)) == sorted(runs)
    assert set(rest.must_exist) == taken
    # Nothing waits for a step that is not there.
    assert {before for step in rest.steps for before in step.after} <= set(runs)


@pytest.mark.parametrize(
    ("today", "message", "cure"),
    [
        ({"parameters": {"rate": 2, "other": 2}}, "its parameters changed since", "first"),
        ({"catalog": {**CATALOG, "raw": {"type": "pandas.ParquetDataset", "filepath": "gs://bucket/new.parquet"}}}, "its catalog entries changed since", "first"),
        ({"nodes": (Node(changed, ["raw", "params:rate"], "a", name="first"), *DIAMOND[1:])}, "its code changed since", "first"),
        ({"nodes": (*DIAMOND[:2], Node(changed, "a", "b", name="right"), DIAMOND[3])}, "its code changed since", "right"),
    ],
)  # fmt: skip
def test_what_has_changed_since_is_refused_unless_its_node_runs_again(today, message, cure):
    job = ended(planned(*DIAMOND), join="FAILED")
    catalog = today.get("catalog", CATALOG)
    plan = planned(*today.pop("nodes", DIAMOND), **today)
    with pytest.raises(UserError) as told:
        resumed(plan, job, catalog=catalog)
    assert str(told.value) == f"Step '{cure}' has finished in job old, but {message}. Run it again: --rerun {cure}"
    assert cure in names(resumed(plan, job, cure, catalog=catalog))


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"join": "FAILED"}, f"To go on from there with rate=5, text={'x' * 55}…, train.deep=True: resume old\n"),
        (dict.fromkeys(("first", "left", "right", "join"), "FAILED"), ""),
    ],
)
def test_how_to_go_on_is_said_with_the_parameters_that_are_kept_and_only_if_something_has_finished(
    states, message, capsys
):
    job = ended(planned(*DIAMOND), **states)
    params = {"rate": 5, "train": {"deep": True}, "text": "x" * 100_000}
    spec = compile_plan(planned(*DIAMOND), Launch("demo", params=params), RUN_CONFIG)
    show_how_to_go_on(replace(job, spec=spec), "resume old")
    assert capsys.readouterr().out == message


def test_a_job_that_has_only_taken_results_can_be_resumed_by_these():
    plan = resumed(planned(*DIAMOND), ended(planned(*DIAMOND), join="FAILED"))
    assert finished_steps(ended(plan, join="FAILED")) == ["first", "left", "right"]


def test_what_is_not_taken_may_change():
    job = ended(planned(*DIAMOND), join="FAILED")
    rest = resumed(planned(*DIAMOND[:3], Node(changed, ["remote", "b"], None, name="join")), job)
    assert names(rest) == ["join"]
    assert names(resumed(planned(*DIAMOND, parameters={"rate": 1, "other": 3}), job)) == ["join"]


def test_all_that_is_wrong_is_said_at_once():
    job = ended(planned(*DIAMOND), join="FAILED")
    edited = (Node(changed, ["raw", "params:rate"], "a", name="first"), Node(changed, "a", "remote", name="left"))
    plan = planned(*edited, *DIAMOND[2:])
    with pytest.raises(UserError) as told:
        resumed(plan, job)
    assert [line.partition(" has")[0] for line in str(told.value).splitlines()] == ["Step 'first'", "Step 'left'"]


def test_data_that_crosses_in_a_database_is_refused():
    plan = planned(Node(same, "raw", "table", name="fill"), Node(same, "table", None, name="read"))
    job = ended(plan, read="FAILED")
    with pytest.raises(UserError, match=r"but dataset 'table' may be another one by now\. Run it again: --rerun fill$"):
        resumed(plan, job)
    assert names(resumed(plan, job, "fill")) == ["fill", "read"]


def test_files_on_a_disk_are_taken_by_their_artifact():
    plan = planned(Node(same, "raw", "files", name="write"), Node(same, "files", None, name="read"))
    rest = resumed(plan, ended(plan, read="FAILED"))
    assert [(reused.key, reused.uri) for reused in rest.reused] == [
        ("data_files", "gs://bucket/root/old/write/data_files")
    ]
    assert rest.reused[0].metadata == {"sha256": "1"}


def test_a_result_that_no_task_has_handed_on_is_refused():
    plan = planned(*DIAMOND)
    job = ended(plan, join="FAILED")
    job = replace(job, tasks={**job.tasks, "right": replace(job.tasks["right"], outputs={"artifacts": {}})})
    with pytest.raises(UserError, match="Step 'right' has finished in job old, but dataset 'b' was not handed on"):
        resumed(plan, job)


def test_a_job_that_resumed_another_one_is_resumed_by_what_both_have_finished():
    plan = planned(*DIAMOND)
    second = resumed(plan, ended(plan, right="FAILED", join="NOT_TRIGGERED"))
    assert sorted(names(second)) == ["join", "right"]
    third = resumed(plan, ended(second, join="FAILED"))
    assert names(third) == ["join"]
    with pytest.raises(UserError, match="Step 'first' has finished in job old, but its parameters changed since"):
        resumed(planned(*DIAMOND, parameters={"rate": 3}), ended(second, join="FAILED"))


def test_jobs_that_cannot_be_resumed_say_why():
    plan = planned(*DIAMOND)
    running = replace(ended(plan), state="RUNNING")
    for job, again, message in (
        (running, (), r"Job old is RUNNING\. Wait for its end, or cancel it\."),
        (ended(plan), (), r"Job old has finished all steps\. To run some again, name the first: --rerun NODE"),
        (ended(plan, join="FAILED"), ("joint",), r"--rerun joint: there is no such node\. Did you mean 'join'\?"),
    ):
        with pytest.raises(UserError, match=message):
            resumed(plan, job, *again)


@pytest.mark.parametrize(
    ("uri", "is_ours"),
    [
        ("gs://bucket/root/old/right/data_b", True),
        ("gs://bucket/root-of-others/old/right/data_b", False),
        ("gs://bucket/root/../others/data_b", False),
        ("gs://theirs/root/old/right/data_b", False),
        ("http://127.0.0.1:80/root/data_b", False),
        ("file:///etc/passwd", False),
        ("/etc/passwd", False),
    ],
)
def test_no_artifact_is_taken_from_outside_of_the_environments_root(uri, is_ours):
    """Somebody who may start jobs could make one with our labels whose results are at a place of his own."""
    plan = planned(*DIAMOND)
    job = ended(plan, join="FAILED")
    outputs = {"artifacts": {"data_b": {"uri": uri, "metadata": {"sha256": "1"}}}}
    job = replace(job, tasks={**job.tasks, "right": replace(job.tasks["right"], outputs=outputs)})
    lookup = Catalog(dict(CATALOG), "catalog.yml").entry
    if is_ours:
        assert names(resume(plan, job, (), lookup, RUN_CONFIG.root)) == ["join"]
        return
    with pytest.raises(
        UserError, match=r"its dataset 'b' is at .*, outside of gs://bucket/root\. Run it again: --rerun right"
    ):
        resume(plan, job, (), lookup, RUN_CONFIG.root)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:80/model", "gs://theirs/model", "/tmp/model"])
def test_a_model_is_taken_by_an_address_of_mlflow_only(uri):
    model = {"type": "kedro_mlflow.io.models.MlflowModelTrackingDataset", "flavor": "mlflow.sklearn"}
    catalog = {**CATALOG, "model": model}
    plan = planned(Node(same, "raw", "model", name="fit"), Node(same, "model", None, name="use"), catalog=catalog)
    job = ended(plan, use="FAILED")
    outputs = {"artifacts": {"data_model": {"uri": uri, "metadata": {"model_uri": uri, "sha256": "1"}}}}
    job = replace(job, tasks={**job.tasks, "fit": replace(job.tasks["fit"], outputs=outputs)})
    with pytest.raises(UserError, match=r"its dataset 'model' is at .*, outside of"):
        resume(plan, job, (), Catalog(catalog, "catalog.yml").entry, RUN_CONFIG.root)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, ""),
        ({"service_account": "me@p.iam.gserviceaccount.com"}, "its service account is me@p.iam.gserviceaccount.com, not steps@p"),
        ({"service_account": ""}, "its service account is not set, not steps@p"),
        ({"root": "gs://mine/root"}, "its root is gs://mine/root, not gs://bucket/root"),
        ({"labels": {"kedro_project": "demo", "kedro_env": "dev"}}, "its label kedro_env is dev, not cloud"),
        ({"labels": {}}, "its label kedro_project is not set, not demo"),
    ],
)  # fmt: skip
def test_only_a_job_of_this_environment_is_resumed(changes, sentence):
    job = ended(planned(*DIAMOND), join="FAILED")
    ours = {"root": "gs://bucket/root/", "service_account": "steps@p", "labels": labels_of("demo", "cloud")}
    job = replace(job, **{**ours, **changes})
    run_config = RunConfig(image="x", root="gs://bucket/root", service_account="steps@p")
    if not sentence:
        refuse_foreign_job(job, run_config, labels_of("demo", "cloud"))
        return
    with pytest.raises(UserError) as error:
        refuse_foreign_job(job, run_config, labels_of("demo", "cloud"))
    assert sentence in str(error.value)


def test_what_is_imported_is_told_to_the_step_with_its_hash():
    plan = planned(*DIAMOND)
    again = resumed(plan, ended(plan, join="FAILED"))
    containers = {task.name: task.container for task in tasks(compile_plan(again, Launch("demo"), RUN_CONFIG))}
    arguments = StepArguments.of(containers["join"]["args"])
    assert arguments.imported == {"data_b": {"uri": "gs://bucket/root/old/right/data_b", "sha256": "1"}}
    assert arguments.root == "gs://bucket/root"
