"""What very many steps hand to one, or one to very many, goes by few artifacts, so that it fits into an argument."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kedro.pipeline import Node, Pipeline
from plans import same

from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.plan import Plan, Surroundings, make_plan
from vertexai_mlflow.compile.resume import finished_steps, resume
from vertexai_mlflow.contract.arguments import GatheringArguments, StepArguments, digest_of, parse_arguments
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.contract.job import PipelineJob, State, TaskRun
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.names import FINISH_TASK, GATHER_PREFIX, START_TASK
from vertexai_mlflow.contract.places import sha256_of
from vertexai_mlflow.contract.spec import Task, tasks
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.local.cache import Cache
from vertexai_mlflow.local.kfp_protocol import command_line, make_executor_input
from vertexai_mlflow.page.graph import read_graph
from vertexai_mlflow.settings.models import RunConfig, UploadedData
from vertexai_mlflow.step.__main__ import main
from vertexai_mlflow.step.io import StepIO
from vertexai_mlflow.tracking.steps import planned_steps

ROOT = "gs://bucket/root"
NUMBERS = range(1000)
MAKERS = tuple(Node(same, "params:seed", f"forecast_of_store_{n}", name=f"forecast_{n}") for n in NUMBERS)
FORECASTS = [f"forecast_of_store_{n}" for n in NUMBERS]
ADD_UP = Node(same, FORECASTS, "total", name="add_up")
MAKE_ALL = Node(same, "params:seed", FORECASTS, name="forecast")


def planned(*nodes: Node, catalog: Mapping[str, Any] | None = None) -> Plan:
    return make_plan("p", Pipeline(nodes), settings(), Catalog(dict(catalog or {}), "catalog.yml").entry)


def settings(**more: Any) -> RunConfig:
    return RunConfig(**{"image": "registry/x@sha256:1", "root": ROOT, "caching": True, **more})


def compiled(*nodes: Node, **more: Any) -> dict[str, Task]:
    return compiled_plan(planned(*nodes), **more)


def compiled_plan(plan: Plan, **more: Any) -> dict[str, Task]:
    return {task.name: task for task in tasks(compile_plan(plan, Launch("demo"), settings(**more)))}


def told(task: Task) -> StepArguments:
    return StepArguments.of(task.container["args"])


@cache
def of_a_thousand() -> dict[str, Task]:
    return compiled(*MAKERS, ADD_UP)


def gathering_tasks(by_name: Mapping[str, Task]) -> list[Task]:
    return [task for task in by_name.values() if task.name.startswith(GATHER_PREFIX)]


def longest_argument(task: Task) -> int:
    """Bytes of the longest argument of a task on Vertex AI, whose artifacts have names and URIs as they are there."""
    uri = f"{ROOT}/123456789012/demo-p-20261129100000-abcd/{'t' * 60}_-1234567890123456789"
    name = "projects/123456789012/locations/europe-west1/metadataStores/default/artifacts/1234567890123456789"
    metadata = {"sha256": "a" * 64, "bytes": 10**9, "job": "demo-p-20261129100000-abcd", "step": "s" * 40}
    artifact = {"name": name, "type": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}, "metadata": metadata}
    taken = {key: {**artifact, "uri": f"{uri}/{key}"} for key in task.artifacts}
    constants = dict.fromkeys(
        ("pipeline_job_name", "pipeline_job_uuid", "pipeline_job_resource_name", "pipeline_job_create_time_utc"), ""
    )
    argv = command_line(task, make_executor_input(task, {"params": {}}, taken, uri), constants)
    return max((len(argument.encode()) for argument in argv), default=0)


@pytest.mark.slow
def test_what_a_thousand_steps_make_is_gathered_a_hundred_at_a_time():
    by_name = of_a_thousand()
    gathering = gathering_tasks(by_name)
    assert [len(task.artifacts) for task in gathering] == [100] * 10
    assert {source.task for task in gathering for source in task.artifacts.values()} == {
        f"forecast-{number}" for number in NUMBERS
    }
    assert {source.task for source in by_name["add-up"].artifacts.values()} == {task.name for task in gathering}
    assert all(task.cached for task in gathering)
    arguments = told(by_name["add-up"])
    assert list(arguments.artifacts) == FORECASTS
    assert sorted(arguments.indexes) == sorted(by_name["add-up"].artifacts)
    assert max(map(longest_argument, by_name.values())) < 128 * 1024


def test_what_one_step_makes_goes_by_one_artifact_to_all_that_take_some_of_it():
    takers = [Node(same, name, f"seen_{name}", name=f"see_{name}") for name in FORECASTS[:3]]
    by_name = compiled(MAKE_ALL, ADD_UP, *takers)
    assert gathering_tasks(by_name) == []
    index = told(by_name["forecast"]).index
    for name in ("add-up", *(f"see-{taker.inputs[0].replace('_', '-')}" for taker in takers)):
        assert {key: source.task for key, source in by_name[name].artifacts.items()} == {index: "forecast"}
        assert list(told(by_name[name]).indexes) == [index]
    assert max(map(longest_argument, by_name.values())) < 128 * 1024


def test_steps_that_take_the_same_share_their_gathering_tasks():
    backwards = Node(same, FORECASTS[299::-1], "product", name="multiply")
    by_name = compiled(*MAKERS[:300], Node(same, FORECASTS[:300], "total", name="add_up"), backwards)
    assert len(gathering_tasks(by_name)) == 3
    assert by_name["add-up"].artifacts == by_name["multiply"].artifacts


def test_a_further_dataset_leaves_the_gathering_tasks_of_those_before_it_as_they_are():
    def names(count: int) -> list[str]:
        by_name = compiled(*MAKERS[:count], Node(same, FORECASTS[:count], "total", name="zero"))
        last = sorted(MAKERS[:count], key=lambda node: node.name)[-1]
        assert last.name == "forecast_99"
        return [task.name for task in gathering_tasks(by_name)]

    assert names(301)[:2] == names(300)[:2]


def test_what_fits_goes_as_it_did():
    by_name = compiled(*MAKERS[:100], Node(same, FORECASTS[:100], "total", name="add_up"))
    assert gathering_tasks(by_name) == []
    assert len(by_name["add-up"].artifacts) == 100
    assert (told(by_name["add-up"]).indexes, told(by_name["add-up"]).index) == ((), "")


@pytest.mark.slow
def test_indexes_that_are_too_many_are_gathered_themselves():
    nodes, taken = [], []
    for step in range(110):
        names = [f"d_{step}_{number}" for number in range(140)]
        nodes += [
            Node(same, "params:seed", names, name=f"make_{step}"),
            Node(same, names[3:], None, name=f"take_{step}"),
        ]
        taken += names[:3]
    plan = fingerprinted(*nodes, Node(same, taken, None, name="take"))
    by_name = compiled_plan(plan)
    listed = [GatheringArguments.of(task.container["args"]).indexes for task in gathering_tasks(by_name)]
    indexes = sorted(told(by_name[f"make-{step}"]).index for step in range(110))
    assert (sorted(key for keys in listed for key in keys), len(listed)) == (indexes, 2)
    assert max(map(longest_argument, by_name.values())) < 128 * 1024
    # Of the indexes of another job, it is known where they are; of what is in them, it is not.
    again = gathering_tasks(compiled_plan(resumed(plan, ended(plan, "take"))))
    arguments = [GatheringArguments.of(task.container["args"]) for task in again]
    assert sorted(key for told_ in arguments for key in told_.imported) == indexes
    assert [told_.known for told_ in arguments] == [{}, {}]


def test_uploaded_files_are_gathered_with_what_is_known_of_them():
    names = [f"sales_{number}" for number in range(300)]
    catalog = {name: {"type": "pandas.CSVDataset", "filepath": f"data/01_raw/{name}.csv"} for name in names}
    uploaded = {
        f"data/01_raw/{name}.csv": UploadedData(uri=f"{ROOT}/data/{name}.csv", sha256="a" * 64, bytes=1, files=1)
        for name in names
    }
    lookup = Catalog(catalog, "catalog.yml").entry
    pipeline = Pipeline([Node(same, names, "total", name="add_up")])
    by_name = compiled_plan(make_plan("p", pipeline, settings(), lookup, Surroundings(uploaded=uploaded)))
    known: dict[str, Any] = {}
    for task in gathering_tasks(by_name):
        arguments = GatheringArguments.of(task.container["args"])
        assert arguments.imported.keys() == task.artifacts.keys()
        known |= arguments.imported
    assert len(known) == 300
    assert {value["sha256"] for value in known.values()} == {"a" * 64}
    assert told(by_name["add-up"]).imported == {}
    assert told(by_name["add-up"]).known == {
        GatheringArguments.of(task.container["args"]).index: digest_of(
            GatheringArguments.of(task.container["args"]).imported
        )
        for task in gathering_tasks(by_name)
    }
    assert len(told(by_name["add-up"]).raw) == 300


def test_a_gathering_task_is_no_step_for_people():
    nodes = *MAKERS[:150], Node(same, FORECASTS[:150], "total", name="add_up")
    spec = compile_plan(planned(*nodes), Launch("demo"), settings())
    names = {f"forecast-{number}" for number in range(150)} | {"add-up"}
    assert {record.task for record in planned_steps(spec)} == names
    graph = read_graph(spec)
    assert graph.upstream.keys() == names | {START_TASK, FINISH_TASK}
    assert graph.upstream["add-up"] == names - {"add-up"} | {START_TASK}
    gathering = next(task.name for task in tasks(spec) if task.name.startswith(GATHER_PREFIX))
    assert not TaskRun(gathering, "", State.SUCCEEDED).is_shown
    assert TaskRun(gathering, "", State.FAILED).is_shown


def test_a_node_that_would_be_called_like_a_gathering_task_is_refused():
    with pytest.raises(UserError, match="would become the task 'vertexai-gather-x'"):
        compiled(Node(same, "params:seed", None, name="vertexai_gather_x"))


def test_no_step_is_told_of_parameters_and_artifacts_more_than_fits():
    params = {"text": "x" * 126 * 1024}
    with pytest.raises(UserError, match=r"Step 'add-up': its parameters take 126 KiB, and what .* does not fit"):
        compile_plan(planned(*MAKERS, ADD_UP), Launch("demo", params=params), settings())


def test_arguments_that_no_command_can_have_are_refused():
    names = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(6000)]
    with pytest.raises(UserError, match=r"Task 'forecast': its arguments take .* Let nodes exchange fewer datasets"):
        compiled(Node(same, "params:seed", names, name="forecast"), Node(same, names, "total", name="add_up"))


def test_long_arguments_arrive_as_they_left():
    artifacts = {f"dataset {number} {{x}} ü": f"data_{number}" for number in NUMBERS}
    arguments = StepArguments("s", "p", nodes=["e", "eN"], artifacts=artifacts, root="eNot compressed")
    argv = [{"{{$}}": "{}"}.get(item, item) for item in arguments.argv()]
    assert max(map(len, argv)) < 20_000
    read, _input, _platform = parse_arguments(argv)
    assert (read.artifacts, read.nodes, read.root) == (artifacts, ["e", "eN"], "eNot compressed")
    assert StepArguments.of(arguments.argv()).artifacts == artifacts


# What gathering tasks and steps do with an index.


def executor_input(folder: Path, taken: Mapping[str, Any] | None = None, made: str = "index") -> dict[str, Any]:
    return {
        "inputs": {"artifacts": {key: {"artifacts": [artifact]} for key, artifact in (taken or {}).items()}},
        "outputs": {
            "artifacts": {made: {"artifacts": [{"name": made, "uri": f"{folder}/{made}", "metadata": {}}]}},
            "outputFile": f"{folder}/executor_output.json",
        },
    }


MEMBERS = {
    f"data_{number}": {"name": "x", "uri": f"{ROOT}/{number}", "metadata": {"sha256": str(number), "job": "j", "step": "s"}}
    for number in range(3)
}  # fmt: skip


def gathered(folder: Path, members: Mapping[str, Any] = MEMBERS, **more: Any) -> dict[str, Any]:
    """The artifact that a gathering task makes, run by the entry point of a container."""
    arguments = GatheringArguments(f"{GATHER_PREFIX}1", "p", index="index", **more)
    given = json.dumps(executor_input(folder, members))
    main([{"{{$}}": given}.get(item, item) for item in arguments.argv()])
    (artifact,) = json.loads((folder / "executor_output.json").read_text())["artifacts"]["index"]["artifacts"]
    return artifact


def taking(folder: Path, artifact: Mapping[str, Any], output_file: str = "/gcs/bucket/root/job/x.json") -> StepIO:
    given = executor_input(folder, {"index": artifact})
    given["outputs"] = {"outputFile": output_file}
    return StepIO(given)


def test_a_step_finds_in_an_index_what_it_would_have_found_in_artifacts(tmp_path):
    artifact = gathered(tmp_path)
    io = taking(tmp_path, artifact).opened(["index"], str(tmp_path))
    assert io.inputs == MEMBERS
    assert (io.uri("data_1"), io.sha256("data_1")) == (f"{ROOT}/1", "1")
    assert io.steps_of_other_jobs("another") == {"s": "j"}
    assert artifact["metadata"] == {"sha256": sha256_of(tmp_path / "index/index.json"), "members": 3}


def test_what_was_known_when_the_job_was_compiled_is_what_is_gathered(tmp_path):
    imported = {"data_1": {"uri": f"{ROOT}/data/1", "sha256": "of the spec"}}
    artifact = gathered(tmp_path, imported=imported)
    io = taking(tmp_path, artifact).opened(["index"], str(tmp_path), {"index": digest_of(imported)})
    assert (io.uri("data_1"), io.sha256("data_1")) == (f"{ROOT}/data/1", "of the spec")
    assert (io.uri("data_2"), io.sha256("data_2")) == (f"{ROOT}/2", "2")


@pytest.mark.parametrize("replaced", ["of the spec", '"known": true', f"{ROOT}/data/1"])
def test_what_was_known_cannot_be_replaced_by_whoever_may_change_index_and_metadata(tmp_path, replaced):
    imported = {"data_1": {"uri": f"{ROOT}/data/1", "sha256": "of the spec"}}
    artifact = gathered(tmp_path, imported=imported)
    file = tmp_path / "index/index.json"
    assert file.read_text().count(replaced) == 1
    file.write_text(file.read_text().replace(replaced, '"known": false' if "known" in replaced else "another"))
    artifact["metadata"]["sha256"] = sha256_of(file)
    with pytest.raises(UserError, match=r"index\.json names other addresses or hashes of uploaded data"):
        taking(tmp_path, artifact).opened(["index"], str(tmp_path), {"index": digest_of(imported)})


def test_an_index_of_indexes_lists_the_artifacts_themselves(tmp_path):
    inner = gathered(tmp_path / "inner")
    single = {"name": "y", "uri": f"{ROOT}/9", "metadata": {}}
    outer = gathered(tmp_path / "outer", {"other": inner, "data_9": single}, indexes=["other"])
    assert taking(tmp_path, outer).opened(["index"], str(tmp_path)).inputs == {**MEMBERS, "data_9": single}


def test_an_index_that_somebody_has_changed_is_refused(tmp_path):
    artifact = gathered(tmp_path)
    file = tmp_path / "index/index.json"
    file.write_text(file.read_text().replace(f"{ROOT}/1", f"{ROOT}/2"))
    with pytest.raises(UserError, match=r"index\.json does not match its recorded SHA-256"):
        taking(tmp_path, artifact).opened(["index"], str(tmp_path))


def test_an_index_without_a_hash_is_refused(tmp_path):
    artifact = {**gathered(tmp_path), "metadata": {}}
    with pytest.raises(UserError, match="expected none"):
        taking(tmp_path, artifact).opened(["index"], str(tmp_path))


def test_an_index_elsewhere_is_refused_before_it_is_read(tmp_path):
    artifact = {**gathered(tmp_path), "uri": "http://127.0.0.1:1/index"}
    with pytest.raises(UserError, match="Artifact index is said to be at http://127"):
        taking(tmp_path, artifact).opened(["index"], ROOT)


def test_what_an_index_says_is_elsewhere_is_refused(tmp_path):
    members = {**MEMBERS, "data_1": {"name": "x", "uri": "gs://theirs/1", "metadata": {}}}
    io = taking(tmp_path, gathered(tmp_path, members)).opened(["index"], str(tmp_path))
    io.refuse_uris_outside(ROOT, ["data_0", "data_2"])
    with pytest.raises(UserError, match="Artifact data_1 is said to be at gs://theirs/1"):
        io.refuse_uris_outside(ROOT, ["data_0", "data_1", "data_2"])


def test_a_step_that_makes_very_many_has_a_place_for_each(tmp_path):
    io = StepIO(executor_input(tmp_path))
    spread = io.spread("index", ["data_0", "data_1"])
    assert [spread.uri(key) for key in spread.outputs] == [f"{tmp_path}/index/data_0", f"{tmp_path}/index/data_1"]
    assert spread.sha256("data_0") is None
    assert io.spread("", ["data_0"]) is io
    written = io.write_index("index", MEMBERS, job="j", step="s")["index"]["artifacts"][0]
    assert (written["metadata"]["job"], written["metadata"]["step"]) == ("j", "s")
    assert taking(tmp_path, written).opened(["index"], str(tmp_path)).inputs == MEMBERS


def test_this_machines_cache_looks_at_what_an_index_lists(tmp_path):
    project = tmp_path / "project"
    (project / "conf").mkdir(parents=True)
    table = project / "table.csv"
    table.write_text("1")
    artifact = gathered(tmp_path, {"data_0": {"name": "x", "uri": table.as_uri(), "metadata": {}}})
    cache = Cache(tmp_path / "cache", project, project / "conf", (), {})
    task = of_a_thousand()["add-up"]
    before = cache.key(task, {}, {"index": artifact})
    cache.keep(before, {"parameters": {}, "artifacts": {"index": artifact}}, "job")
    assert cache.find(before)
    table.write_text("2")
    assert cache.key(task, {}, {"index": artifact}) != before
    assert cache.find(before) is None


# A job that is resumed.


def ended(plan: Plan, *failed: str) -> PipelineJob:
    """A job of the plan in which these steps have failed."""
    spec, runs = compile_plan(plan, Launch("demo"), settings()), {}
    for task in tasks(spec):
        outputs = task.component.get("outputDefinitions", {}).get("artifacts", {})
        made = {key: {"uri": f"{ROOT}/old/{task.name}/{key}", "metadata": {"sha256": "1"}} for key in outputs}
        if task.importer:
            made = {
                "artifact": {"uri": task.importer["artifactUri"]["constant"], "metadata": task.importer["metadata"]}
            }
        state = State.FAILED if task.name in failed else State.SUCCEEDED
        runs[task.name] = TaskRun(task.name, "", state, outputs=None if task.name in failed else {"artifacts": made})
    return PipelineJob("old", "projects/1/locations/r/pipelineJobs/old", State.FAILED, runs, spec=spec)


def resumed(plan: Plan, job: PipelineJob) -> Plan:
    return resume(plan, job, (), Catalog({}, "catalog.yml").entry, ROOT)


def fingerprinted(*nodes: Node) -> Plan:
    plan = planned(*nodes)
    digest = "-".join(hashlib.sha256(b"x").hexdigest()[:12] for _ in range(3))
    return replace(plan, steps=tuple(replace(step, fingerprint=digest) for step in plan.steps))


def test_of_many_gathered_datasets_one_is_made_again():
    plan = fingerprinted(*MAKERS[:300], Node(same, FORECASTS[:300], "total", name="add_up"))
    again = resumed(plan, ended(plan, "forecast-7", "add-up"))
    assert [step.name for step in again.steps] == ["forecast-7", "add-up"]
    by_name = compiled_plan(again)
    assert [len(task.artifacts) for task in gathering_tasks(by_name)] == [100] * 3
    known = [GatheringArguments.of(task.container["args"]).imported for task in gathering_tasks(by_name)]
    assert sorted(map(len, known)) == [99, 100, 100]
    assert max(map(longest_argument, by_name.values())) < 128 * 1024


def test_an_index_of_a_finished_step_is_taken_as_a_whole_also_by_the_job_after_the_next():
    last = Node(same, [*FORECASTS[:2], "total"], "end", name="last")
    plan = fingerprinted(MAKE_ALL, ADD_UP, last)
    first = ended(plan, "add-up", "last")
    again = resumed(plan, first)
    (index,) = again.reused
    assert (index.uri, len(index.members)) == (f"{ROOT}/old/forecast/{index.key}", 1000)
    assert again.must_exist == {index.uri: "forecast"}
    by_name = compiled_plan(again)
    assert told(by_name["add-up"]).imported == {index.key: {"uri": index.uri, "sha256": "1"}}
    assert list(told(by_name["last"]).indexes) == [index.key]

    second = ended(again, "last")
    assert sorted(finished_steps(second)) == ["add-up", "forecast"]
    third = resumed(plan, second)
    assert [step.name for step in third.steps] == ["last"]
    uris = {reused.uri: len(reused.members) for reused in third.reused}
    assert uris == {index.uri: 2, f"{ROOT}/old/add-up/data_total": 0}
    assert list(told(compiled_plan(third)["last"]).indexes) == [index.key]


def test_an_index_that_has_a_dataset_under_another_key_is_not_taken():
    plan = fingerprinted(MAKE_ALL, ADD_UP)
    job = ended(plan, "add-up")
    artifacts = {**plan.artifacts, FORECASTS[0]: replace(plan.artifacts[FORECASTS[0]], key="data_another")}
    with pytest.raises(UserError, match=f"dataset '{FORECASTS[0]}' was not handed on. Run it again: --rerun forecast"):
        resumed(replace(plan, artifacts=artifacts), job)
