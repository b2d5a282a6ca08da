"""A real Docker engine, a real registry, and the image of a generated project."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
from running import BIN, commit, environment, run
from small_cloud import name_experiment

BASE = "python:3.11-slim"
SECRET = "planted-secret-7f3a"
# Files that a project may have lying about; none of them belongs in an image.
PLANTED = [
    ".env", "service-account.json", "conf/local/credentials.yml", "conf/base/credentials.yml", "notebooks/key.ipynb",
    "conf/cloud/credentials_prod.yml", "conf/cloud/gcp-key.json", "src/.env.local", "src/test_project/id.pem",
    "data/02_intermediate/people.csv", "data/01_raw/people.csv", "tests/fixtures.json", ".vertexai/run/log.txt",
    "conf/cloud/credentials.yaml", "conf/prod/my-credentials.json", "conf/cloud/project-42-0123456789ab.json",
    "conf/cloud/token.json", "conf/base/hub.token", "src/test_project/id_rsa", "src/test_project/client.p12",
    "src/.netrc", "src/.pypirc", "src/.git-credentials", "conf/base/secrets.toml", "src/.vertexai/run/log.txt",
    "gha-creds-0123456789abcdef.json",
]  # fmt: skip


@dataclass
class Built:
    """A project and its image.

    Args:
        project: its folder, a git repository with one commit.
        image: name of the image.
        commit: the commit.
    """

    project: Path
    image: str
    commit: str


def missing(reason: str) -> NoReturn:
    """Skip the tests that need what is missing; in CI they fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The docker command. Without an engine the tests are skipped; in CI they fail.

    Builds get the host's network: the engine of ``.ci/engine`` has no other.
    """
    command = shutil.which("docker")
    if command is None or subprocess.run([command, "version"], capture_output=True).returncode:
        missing("There is no Docker engine here: .ci/engine up FOLDER starts one.")
    folder = tmp_path_factory.mktemp("docker")
    wrapper = folder / "docker"
    build = f"shift; DOCKER_BUILDKIT=${{DOCKER_BUILDKIT:-1}} exec {_find_builder()} build --network host"
    wrapper.write_text(f'#!/bin/sh\nif [ "$1" = build ]; then {build} "$@"; fi\nexec {command} "$@"\n')
    wrapper.chmod(0o755)
    os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ['PATH']}"

    def docker(*arguments: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run([wrapper, *arguments], cwd=cwd, capture_output=True, text=True, timeout=900)

    return docker


def _find_builder() -> Path:
    """The first docker command that builds with BuildKit: one with Buildx, or one before 23, which has it built in."""
    for folder in os.environ["PATH"].split(os.pathsep):
        command = Path(folder) / "docker"
        if os.access(command, os.X_OK):
            has_buildx = not subprocess.run([command, "buildx", "version"], capture_output=True).returncode
            version = subprocess.run([command, "--version"], capture_output=True, text=True).stdout
            if has_buildx or int(version.removeprefix("Docker version ").partition(".")[0]) < 23:
                return command
    missing("No docker command here builds with BuildKit: install Buildx.")


@pytest.fixture(scope="session")
def make_project(baked: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Generate a project and make it a git repository with one commit."""

    def make_project(**answers: str) -> Path:
        project = baked(**{"project_name": "Test Project", **answers})
        copy = shutil.copytree(project, tmp_path_factory.mktemp("project") / project.name)
        commit(copy)
        return copy

    return make_project


@pytest.fixture(scope="session")
def built(docker, make_project) -> Built:
    """The example's project, built as its user builds it, with secrets lying about."""
    project = make_project()
    name_experiment(project, "built_image")
    head = commit(project)
    for name in PLANTED:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(f"{SECRET}\n")
    done = run("make", "image", cwd=project, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return Built(project, "test-project:latest", head)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real registry on loopback."""
    command = shutil.which("docker-registry")
    if command is None:
        missing("There is no docker-registry here: apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder}/store\nhttp:\n  addr: {address}\n"
    )
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([command, "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT)
    host, port = address.split(":")
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                break
        time.sleep(0.1)
    yield address
    process.send_signal(signal.SIGTERM)
    process.wait(10)


def kedro(project: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the project with the docker command of the tests."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    argv = [BIN / "kedro", *arguments]
    variables = {**environment(**extra), "PATH": path}
    return subprocess.run(
        argv, cwd=project, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
    )
