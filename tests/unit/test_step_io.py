"""What a step believes of its artifacts: what was known when the job was compiled, and else only places of its own environment."""

import pytest

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.step.io import StepIO

ROOT = "gs://bucket/root"


def executor_input(uri: str, output_file: str = "/gcs/bucket/root/job/step/executor_output.json") -> dict:
    artifact = {"name": "x", "uri": uri, "metadata": {"sha256": "of the metadata", "bytes": 1}}
    return {"inputs": {"artifacts": {"data_x": {"artifacts": [artifact]}}}, "outputs": {"outputFile": output_file}}


def test_what_was_known_when_the_job_was_compiled_counts_and_no_metadata():
    """Whoever has aiplatform.artifacts.update could change URI and metadata after the launch."""
    io = StepIO(executor_input("gs://theirs/x"), {"data_x": {"uri": "gs://bucket/data/x", "sha256": "of the spec"}})
    assert (io.uri("data_x"), io.sha256("data_x")) == ("gs://bucket/data/x", "of the spec")
    io.refuse_uris_outside(ROOT, ["data_x"])


@pytest.mark.parametrize("uri", ["gs://bucket/root/4711/job/make_1/data_x", "gs://bucket/root/other-job/data_x"])
def test_an_artifact_below_the_root_is_read_also_if_it_comes_from_the_cache(uri):
    StepIO(executor_input(uri)).refuse_uris_outside(ROOT, ["data_x", "data_y"])


@pytest.mark.parametrize(
    "uri",
    ["gs://theirs/root/x", "gs://bucket/root-2/x", "gs://bucket/root/../x", "http://host/x", "/tmp/x", "file:///x"],
)
def test_an_artifact_elsewhere_is_refused_with_its_address(uri):
    with pytest.raises(
        UserError, match=r"Artifact data_x is said to be at .*, but the jobs of this environment keep"
    ) as error:
        StepIO(executor_input(uri)).refuse_uris_outside(ROOT, ["data_x"])
    assert uri in str(error.value)


def test_on_this_machine_the_root_of_the_environment_is_not_the_jobs():
    io = StepIO(executor_input("/project/.vertexai/job/x", "/project/.vertexai/job/step/executor_output.json"))
    io.refuse_uris_outside(ROOT, ["data_x"])
