"""Our KFP protocol against the KFP SDK's own, ``kfp.local``: the stand-in for Vertex AI runs jobs with ours.

A misreading of the protocol would otherwise be confirmed by every test that runs a whole pipeline.
"""

import json

import pytest
from google.protobuf import json_format
from kedro.pipeline import Node, Pipeline
from kfp import dsl
from kfp.local import executor_input_utils, executor_output_utils, placeholder_utils
from kfp.pipeline_spec import pipeline_spec_pb2

from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.plan import make_plan
from vertexai_mlflow.contract.catalog import Entry
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.spec import Task, tasks
from vertexai_mlflow.local.kfp_protocol import command_line, make_executor_input, read_executor_output
from vertexai_mlflow.settings.models import RunConfig

PARAMS = {"a": 1.0, "text": 'it\'s "quoted" $(x) {b}', "nested": {"list": [1, "zwei", True]}}

# As the SDK names a job on this machine.
JOB = "demo-2026-11-29-00-00-00-000000"


def same(*values):
    return values


NODES = (
    Node(same, "raw", ["left", "right"], name="cut"),
    Node(same, ["left", "right", "params:a"], "score", name="join"),
)
ENTRIES = {
    "raw": Entry("pandas.CSVDataset", "data/raw.csv"),
    "score": Entry("json.JSONDataset", "data/score.json", artifact_type="system.Metrics"),
}


def compiled() -> list[Task]:
    run_config = RunConfig(image="x@sha256:1", root="gs://bucket/root")
    plan = make_plan("__default__", Pipeline(NODES), run_config, ENTRIES.get)
    return tasks(compile_plan(plan, Launch("demo", params=PARAMS), run_config))


TASKS = {task.name: task for task in compiled() if task.container}


def artifacts_of(task: Task, uri: str) -> dict[str, dict]:
    """What upstream tasks have made, as RuntimeArtifacts."""
    return {
        key: {"name": key, "type": {"schemaTitle": "system.Artifact", "schemaVersion": "0.0.1"}, "uri": f"{uri}/{key}", "metadata": {"sha256": "0" * 64}}
        for key in task.artifacts
    }  # fmt: skip


def kfps_artifact(artifact: dict) -> dsl.Artifact:
    return dsl.Artifact(name=artifact["name"], uri=artifact["uri"], metadata=artifact["metadata"])


def parameters_of(task: Task) -> dict[str, object]:
    values = {"params": PARAMS, "status": {"state": "SUCCEEDED"}}
    return {name: values[name] for name in task.parameters}


@pytest.mark.parametrize("name", TASKS)
def test_the_executor_input_is_the_one_that_the_sdk_makes(name, tmp_path):
    task = TASKS[name]
    artifacts, parameters = artifacts_of(task, "gs://bucket/upstream"), parameters_of(task)
    ours = make_executor_input(task, parameters, artifacts, str(tmp_path))
    component = json_format.ParseDict(task.component, pipeline_spec_pb2.ComponentSpec())
    arguments = {**parameters, **{key: kfps_artifact(artifact) for key, artifact in artifacts.items()}}
    theirs = executor_input_utils.construct_executor_input(component, arguments, str(tmp_path), False)
    # As a message, because the SDK leaves out what is empty.
    assert json_format.ParseDict(ours, pipeline_spec_pb2.ExecutorInput()) == theirs


@pytest.mark.parametrize("name", TASKS)
def test_placeholders_become_what_the_sdk_puts_in_their_place(name, tmp_path):
    task = TASKS[name]
    executor_input = make_executor_input(task, parameters_of(task), artifacts_of(task, "gs://b"), str(tmp_path))
    constants = {
        "pipeline_job_name": JOB, "pipeline_job_uuid": "42", "pipeline_job_resource_name": JOB,
        "pipeline_job_create_time_utc": "2026-11-29T00:00:00Z",
    }  # fmt: skip
    ours = command_line(task, executor_input, constants)
    command = [*task.container["command"], *task.container["args"]]
    # Vertex AI knows these two placeholders, and the SDK does not.
    vertex_only = {
        f"{{{{$.{name}}}}}": constants[name] for name in ("pipeline_job_create_time_utc", "pipeline_job_resource_name")
    }
    assert set(vertex_only) <= set(command)
    known = [vertex_only.get(item, item) for item in command]
    theirs = placeholder_utils.replace_placeholders(
        known, json.loads(json.dumps(executor_input)), JOB, task.name, str(tmp_path), "42"
    )
    assert len(ours) == len(theirs) == len(command)
    for template, our_text, their_text in zip(command, ours, theirs, strict=True):
        if template == "{{$}}":
            assert json.loads(our_text) == json.loads(their_text) == executor_input
        else:
            assert our_text == their_text, template
    assert JOB in ours
    assert "42" in ours


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{$.inputs.parameters['params']}}", json.dumps(PARAMS)),
        ("{{$.outputs.output_file}}", "/out/executor_output.json"),
        ("a {{$.inputs.artifacts['data_left'].uri}} b", "a gs://b/data_left b"),
        ("{{$.inputs.artifacts['data_left'].metadata['sha256']}}", "0" * 64),
        ("{{$.outputs.artifacts['data_score'].uri}}", "/out/data_score"),
    ],
)
def test_keyed_placeholders_mean_what_they_mean_to_the_sdk(template, expected):
    task = TASKS["join"]
    executor_input = make_executor_input(task, parameters_of(task), artifacts_of(task, "gs://b"), "/out")
    (theirs,) = placeholder_utils.replace_placeholders([template], executor_input, JOB, "join", "/out", "42")
    container = {"command": [], "args": [template]}
    (ours,) = command_line(Task(**{**vars(task), "container": container}), executor_input, {})
    if "params" in template:
        assert json.loads(ours) == json.loads(theirs) == json.loads(expected)
    else:
        assert ours == theirs == expected


def test_the_executor_output_is_read_as_the_sdk_reads_it(tmp_path):
    task = TASKS["join"]
    executor_input = make_executor_input(task, parameters_of(task), artifacts_of(task, "gs://b"), str(tmp_path))
    artifact = {"name": "data_score", "uri": f"{tmp_path}/data_score", "metadata": {"r2": 0.5}}
    written = {"artifacts": {"data_score": {"artifacts": [artifact]}}}
    (tmp_path / "executor_output.json").write_text(json.dumps(written))
    ours = read_executor_output(executor_input)
    message = json_format.ParseDict(executor_input, pipeline_spec_pb2.ExecutorInput())
    component = json_format.ParseDict(task.component, pipeline_spec_pb2.ComponentSpec())
    output = executor_output_utils.load_executor_output(str(tmp_path / "executor_output.json"))
    theirs = executor_output_utils.get_outputs_from_executor_output(output, message, component)
    assert set(ours["artifacts"]) == set(theirs) == {"data_score"}
    assert ours["artifacts"]["data_score"]["metadata"] == theirs["data_score"].metadata == {"r2": 0.5}
    assert ours["artifacts"]["data_score"]["uri"] == theirs["data_score"].uri
