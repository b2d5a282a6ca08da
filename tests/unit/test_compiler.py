import json
import re

import pytest
from google.protobuf import json_format
from kedro.pipeline import Node, Pipeline
from kfp.pipeline_spec import pipeline_spec_pb2

from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.plan import make_plan
from vertexai_mlflow.contract.arguments import StepArguments, parse_arguments
from vertexai_mlflow.contract.catalog import Entry
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.names import FINISH_TASK, START_TASK, STEP_TAG
from vertexai_mlflow.contract.spec import read_spec, tasks, write_spec
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig


def same(*args):
    return args


def compiled(*nodes: Node, env: str = "", params: dict | None = None, cache_here: bool = False, **settings):
    resources = {"__default__": {"cpu": "500m", "memory": "2Gi"}}
    run_config = RunConfig(**{"image": "registry/x@sha256:1", "resources": resources, **settings})
    plan = make_plan(
        "__default__", Pipeline(nodes), run_config, {"raw": Entry("pandas.CSVDataset", "data/raw.csv")}.get
    )
    return compile_plan(plan, Launch("my_project", env=env, params=params or {}), run_config, cache_here=cache_here)


def told(spec: dict, task: str) -> StepArguments:
    """The arguments of a task's container, with placeholders replaced as the platform replaces them."""
    args = [
        {"{{$}}": "{}"}.get(item, item)
        for item in spec["deploymentSpec"]["executors"][f"exec-{task}"]["container"]["args"]
    ]
    return parse_arguments(args)[0]


NODES = (
    Node(same, "raw", ["left", "right"], name="cut"),
    Node(same, "left", "l", name="left_branch"),
    Node(same, ["right", "params:a"], "r", name="right_branch"),
    Node(same, ["l", "r"], "end", name="join"),
)


def test_the_kfp_sdk_can_parse_a_compiled_spec():
    spec = compiled(*NODES, root="gs://bucket/root")
    message = json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    assert message.pipeline_info.name == "my-project"
    assert message.default_pipeline_root == "gs://bucket/root"


def test_the_start_task_runs_first_and_the_finish_task_gets_the_final_status():
    by_name = {task.name: task for task in tasks(compiled(*NODES))}
    assert next(iter(by_name)) == "mlflow-start-run"
    assert by_name["mlflow-start-run"].upstream == frozenset()
    steps = {"cut", "left-branch", "right-branch", "join"}
    assert all("mlflow-start-run" in by_name[step].upstream for step in steps)
    assert by_name["join"].upstream == {"mlflow-start-run", "left-branch", "right-branch"}
    finish = by_name["mlflow-finish-run"]
    assert finish.always
    assert finish.upstream == steps | {"mlflow-start-run"}
    assert finish.parameters["status"].status_of == ("exit-handler-1", finish.upstream)


def test_no_shell_reads_the_arguments_of_a_step():
    spec = compiled(*NODES, env="it's $(here)")
    container = spec["deploymentSpec"]["executors"]["exec-cut"]["container"]
    assert container["image"] == "registry/x@sha256:1"
    assert container["command"] == ["python", "-m", "vertexai_mlflow.step"]
    assert container["args"][container["args"].index("--executor-input") + 1] == "{{$}}"
    assert "--env=it's $(here)" in container["args"]
    assert (told(spec, "cut").nodes, told(spec, "cut").env) == (["cut"], "it's $(here)")


def test_resources_are_in_the_units_that_vertex_reads():
    resources = compiled(*NODES)["deploymentSpec"]["executors"]["exec-cut"]["container"]["resources"]
    assert (resources["cpuLimit"], resources["memoryLimit"]) == (0.5, 3.0)
    assert resources["resourceMemoryLimit"] == "3G"


def test_a_step_gets_its_gpu_retries_timeout_and_image():
    of_cut = {"gpu_type": "NVIDIA_L4", "retries": 2, "timeout": "5m", "image": "registry/cuda:1"}
    spec = compiled(*NODES, resources={"cut": of_cut})
    container = spec["deploymentSpec"]["executors"]["exec-cut"]["container"]
    assert container["image"] == "registry/cuda:1"
    assert container["resources"]["accelerator"]["type"] == "NVIDIA_L4"
    assert container["resources"]["accelerator"]["count"] == "1"
    assert told(spec, "cut").timeout == 300
    (cut,) = (task for task in tasks(spec) if task.name == "cut")
    assert cut.pauses == (10.0, 20.0)
    other = spec["deploymentSpec"]["executors"]["exec-join"]["container"]
    assert (other["image"], other.get("resources")) == ("registry/x@sha256:1", None)
    assert not any(item.startswith("--timeout") for item in other["args"])


def test_host_aliases_reach_every_task():
    spec = compiled(*NODES, network={"host_aliases": [{"ip": "10.0.0.4", "hostnames": ["mlflow.internal"]}]})
    for executor in spec["deploymentSpec"]["executors"]:
        assert told(spec, executor.removeprefix("exec-")).host_aliases == {"mlflow.internal": "10.0.0.4"}


def test_the_cache_key_of_a_step_does_not_depend_on_the_run():
    spec = compiled(*NODES, caching=True)
    by_name = {task.name: task for task in tasks(spec)}
    assert {name for name, task in by_name.items() if task.cached} == {"cut", "left-branch", "right-branch", "join"}
    for task in by_name.values():
        if task.cached:
            assert all(source.pipeline_parameter == "params" for source in task.parameters.values())
            given = [item for item in task.container["args"] if "{{" in item]
            assert set(given) == {
                "{{$}}", "{{$.pipeline_job_name}}", "{{$.pipeline_job_uuid}}", "{{$.pipeline_job_resource_name}}",
                "{{$.pipeline_job_create_time_utc}}",
            }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "here", "cached"), [("x:1", False, False), ("x@sha256:1", False, True), ("x:1", True, True)]
)
def test_only_an_image_named_by_digest_lets_vertex_ai_take_earlier_results(image, here, cached):
    spec = compiled(*NODES, caching=True, image=image, cache_here=here, resources={})
    assert {task.cached for task in tasks(spec) if task.name == "cut"} == {cached}


def test_a_step_is_told_which_files_it_reads_that_no_step_makes():
    spec = compiled(*NODES)
    assert told(spec, "cut").reads == ["data/raw.csv"]
    assert told(spec, "join").reads == ()


def test_an_address_that_is_resolved_when_the_job_starts_is_not_in_the_spec():
    run_config = RunConfig(image="x", root="gs://bucket/root")
    kept = Entry("pandas.CSVDataset", "gs://bucket/2026-01-01.csv", artifact_type="system.Dataset")
    pipeline = Pipeline([Node(same, None, ["kept", "other"], name="cut")])
    plan = make_plan("p", pipeline, run_config, {"kept": kept, "other": kept}.get)
    spec = compile_plan(plan, Launch("demo"), run_config, resolve={"catalog": {"kept": {"filepath": True}}})
    lineage = told(spec, "cut").lineage
    assert (lineage["kept"]["uri"], lineage["other"]["uri"]) == (None, "gs://bucket/2026-01-01.csv")
    assert told(spec, START_TASK).resolve == {"catalog": {"kept": {"filepath": True}}}


def test_no_step_is_cached_unless_the_settings_say_so():
    spec = compiled(*NODES)
    inner = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    assert not any(task["cachingOptions"].get("enableCache") for task in inner.values())


def test_parameters_that_do_not_fit_into_an_argument_are_refused():
    with pytest.raises(UserError, match="--params: these take 200 KiB"):
        compiled(*NODES, params={"text": "x" * 200 * 1024})
    assert compiled(*NODES, params={"text": "x" * 60 * 1024})


def test_long_names_are_cut_and_stay_apart():
    names = ["n" * 200, "n" * 245, "n" * 244 + "m"]
    spec = compiled(*(Node(same, "raw", f"{'d' * 300}{name}", name=name) for name in names))
    made = {task.name for task in tasks(spec)} - {START_TASK, FINISH_TASK}
    assert len(made) == 3
    assert all(len(name) <= 128 and len(STEP_TAG + name) <= 250 for name in made)


def test_a_long_name_of_a_pipeline_is_cut():
    run_config = RunConfig(image="x")
    plan = make_plan("Größe EU/v1.2" + "x" * 140, Pipeline(NODES), run_config, {"raw": Entry("a", "data/raw")}.get)
    name = compile_plan(plan, Launch("demo"), run_config)["pipelineInfo"]["name"]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", name)


@pytest.mark.parametrize("name", ["{{$}}", "{{$.inputs.parameters['params']}}"])
def test_a_name_in_which_kfp_would_replace_something_is_refused(name):
    with pytest.raises(UserError, match="Task 'cut', --artifacts: KFP replaces"):
        compiled(Node(same, "raw", name, name="cut"), Node(same, name, "end", name="end"))


def test_metrics_are_counted_with_all_the_metadata_they_may_have():
    metrics = {
        f"m{number}": Entry("kedro_mlflow.io.metrics.MlflowMetricsHistoryDataset", artifact_type="system.Metrics")
        for number in range(50)
    }
    run_config = RunConfig(image="x")
    plan = make_plan(
        "p", Pipeline([Node(same, "raw", list(metrics), name="score")]), run_config, {"raw": Entry("x"), **metrics}.get
    )
    assert told(compile_plan(plan, Launch("p"), run_config), "score").index == "vertexai_made_by_score"


def test_the_same_plan_compiles_to_the_same_bytes():
    assert json.dumps(compiled(*NODES)) == json.dumps(compiled(*NODES))


def test_a_pipeline_without_nodes_still_starts_and_finishes():
    assert [task.name for task in tasks(compiled())] == ["mlflow-start-run", "mlflow-finish-run"]


@pytest.mark.parametrize("name", ["spec.json", "spec.yaml"])
def test_a_spec_that_was_written_can_be_read_back(name, tmp_path):
    spec = compiled(*NODES, params={"a": 1.0, "b": {"c": "ü"}})
    write_spec(spec, tmp_path / name)
    assert read_spec(tmp_path / name) == spec
    assert spec["root"]["inputDefinitions"]["parameters"]["params"]["defaultValue"]["b"] == {"c": "ü"}


def test_a_failure_to_write_a_spec_leaves_what_was_there(tmp_path):
    target = tmp_path / "spec.json"
    target.mkdir()
    with pytest.raises(UserError, match="Name a file in a folder"):
        write_spec(compiled(), target)
    assert [path.name for path in tmp_path.iterdir()] == ["spec.json"]
