"""What the arguments of a docker command show to everybody on this machine, and what only its environment has."""

import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp import dsl

from vertexai_mlflow.errors import UserError
from vertexai_mlflow.image.docker import require_image
from vertexai_mlflow.local.containers import Containers
from vertexai_mlflow.local.scheduler import RunOptions, run_spec

# It has each image, and no container afterwards. It prints its arguments, and what a container would get for each --env.
DOCKER = f"""#!{sys.executable}
import os, sys
if sys.argv[1] == "image":
    print('[{{"Id": "sha256:1"}}]')
if sys.argv[1] != "run":
    sys.exit(sys.argv[1] != "image")
items = [value for option, value in zip(sys.argv, sys.argv[1:]) if option == "--env"]
print("arguments:", sys.argv)
for item in items:
    name, equals, value = item.partition("=")
    print("container:", name, value if equals else os.environ.get(name))
"""


@dsl.container_component
def say():
    return dsl.ContainerSpec(image="x", command=["true"], args=[])


@pytest.fixture
def printed(tmp_path, monkeypatch):
    """Run one task with these variables in its spec, and return what that docker prints."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    def printed(containers: Containers, **variables: str) -> list[str]:
        @dsl.pipeline(name="demo")
        def pipeline():
            task = say()
            for name, value in variables.items():
                task.set_env_variable(name, value)

        spec: dict[str, Any] = json_format.MessageToDict(pipeline.pipeline_spec)
        job = run_spec(spec, RunOptions(tmp_path / "jobs", tmp_path, containers=containers))
        return Path(job.tasks["say"].log).read_text().splitlines()

    return printed


def test_no_secret_is_in_the_arguments_of_docker_and_the_container_gets_it(printed, tmp_path):
    store = "https://user:s3cret@mlflow.example.com"
    containers = Containers(tmp_path, {"MLFLOW_TRACKING_URI": store})
    arguments, *container = printed(containers, DB_PASSWORD="an0ther", WORDS="two words\tand a tab")
    assert not any(secret in arguments for secret in ("s3cret", "an0ther", "two words"))
    assert container == [
        f"container: MLFLOW_TRACKING_URI {store}", "container: DB_PASSWORD an0ther", "container: WORDS two words\tand a tab",
    ]  # fmt: skip


def test_a_variable_of_the_container_does_not_change_docker_itself(printed, tmp_path):
    """Otherwise `PATH` of an image's task would hide the docker command, and `DOCKER_HOST` talk to another engine."""
    arguments, *container = printed(
        Containers(tmp_path, {}), PATH="/opt/conda/bin", DOCKER_HOST="tcp://evil:1", HOME="/x"
    )
    assert "'PATH=/opt/conda/bin'" in arguments
    assert container == ["container: PATH /opt/conda/bin", "container: DOCKER_HOST tcp://evil:1", "container: HOME /x"]


def test_the_name_of_an_image_is_not_taken_for_an_option():
    with pytest.raises(UserError, match="--privileged is not the name of an image: docker would take it for an option"):
        require_image("--privileged")
