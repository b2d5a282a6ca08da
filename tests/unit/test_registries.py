"""Which registries are sent Google's tokens."""

import os
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from running import PLATFORM

from vertexai_mlflow.checks.online import check_pushed_image
from vertexai_mlflow.cli import vertexai
from vertexai_mlflow.image.docker import is_googles

OTHERS = [
    "ghcr.io", "evilgcr.io", "gcr.io.evil.com", "evil.com", "docker.io", "x-docker.pkg.dev.evil.com", "evilpkg.dev",
    "europe-docker.pkg.dev@evil.com", "user:gcr.io@evil.com", "evil.com#.gcr.io", "evil.com?gcr.io", "gcr.io:8443", "a.b.gcr.io",
    "x_gcr.io", "GCR.IO.", "127.0.0.1.evil.com", "localhost.evil.com", "127.0.0.1@evil.com",
]  # fmt: skip


@pytest.fixture
def docker_login(identity, tmp_path, monkeypatch):
    """The command, with a docker that notes what it is told."""
    noted = tmp_path / "noted"
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {noted}\ncat >> {noted}\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def docker_login(image: str) -> tuple[Result, str]:
        done = CliRunner().invoke(
            vertexai,
            ["docker-login", "--image", image],
            obj=SimpleNamespace(project_path=tmp_path, source_dir=tmp_path / "src"),
        )
        return done, noted.read_text() if noted.exists() else ""

    return docker_login


@pytest.mark.parametrize("registry", OTHERS)
def test_docker_login_sends_no_token_to_somebody_elses_registry(registry, docker_login):
    done, noted = docker_login(f"{registry}/project/images/x:latest")
    assert done.exit_code == 1
    assert f"{registry} is not a Google registry, so it gets no Google token." in done.output
    assert noted == ""


@pytest.mark.parametrize(
    "registry", ["gcr.io", "eu.gcr.io", "europe-west1-docker.pkg.dev", "us-docker.pkg.dev", "127.0.0.1:5000"]
)
def test_docker_login_sends_a_token_to_googles_registries(registry, docker_login):
    done, noted = docker_login(f"{registry}/project/images/x:latest")
    assert done.exit_code == 0, done.output
    assert noted == f"login {registry} --username oauth2accesstoken --password-stdin\nambient-access-token"


@pytest.mark.parametrize("registry", [*OTHERS, "127.0.0.1:5000"])
def test_doctor_asks_no_other_registry(registry, identity):
    """It has an access token at hand."""
    message = check_pushed_image(f"{registry}/project/images/x:latest", "cloud")
    assert message.endswith("is not in one of Google's registries, so doctor did not look for it")
    assert not is_googles(registry)


def test_no_other_code_sends_a_token_to_a_host_that_a_name_names():
    """One gives the registry to `login`, which refuses others, and one prints it."""
    users = [path.name for path in PLATFORM.rglob("*.py") if "registry_of(" in path.read_text()]
    assert sorted(users) == ["docker.py", "docker_login.py", "facts.py"]
