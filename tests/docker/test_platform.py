"""For which platform an image is, as a real engine builds it and a real registry tells it. No image is started here."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from docker_engine import BASE
from fakes.google_identity import Google, JsonHandler
from small_cloud import REGISTRY

from vertexai_mlflow.checks.online import check_pushed_image
from vertexai_mlflow.contract.check import Check, check
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.image.docker import build_and_push

pytestmark = pytest.mark.slow


@pytest.fixture
def pushed(docker, registry, tmp_path) -> Callable[[str], str]:
    """A pushed image with one file, for a platform; its name by digest."""

    def pushed(platform: str) -> str:
        name, folder = f"{registry}/bases/{platform.replace('/', '-')}", tmp_path / "base"
        folder.mkdir(exist_ok=True)
        # With the same text, the classic builder would take what it has in its cache for the other platform.
        (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY Dockerfile /\nLABEL for={platform}\n")
        for command in (["build", "--platform", platform, "--tag", name, str(folder)], ["push", name]):
            done = docker(*command)
            assert done.returncode == 0, done.stderr
        digest = docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", name).stdout.strip()
        # Whoever wants it next has to pull it.
        assert docker("rmi", "--force", name, digest).returncode == 0
        return digest

    return pushed


@pytest.fixture
def project(docker, tmp_path) -> Path:
    """A folder with a Dockerfile that adds a label to its base image."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Dockerfile").write_text("ARG BASE_IMAGE=nobody/has:this\nFROM ${BASE_IMAGE}\nLABEL a=b\n")
    return folder


@pytest.fixture
def doctor(registry, identity: Google) -> Callable[[str], Check]:
    """What doctor says about an image in the registry, which stands at an address of Google's for it."""

    def forward(handler: JsonHandler) -> None:
        url, accept = f"http://{registry}{handler.path}", {"Accept": handler.headers["Accept"]}
        reply = requests.request(handler.command, url, headers=accept, allow_redirects=False)
        digest = {"Docker-Content-Digest": reply.headers.get("Docker-Content-Digest", "")}
        handler.answer(reply.status_code, reply.text, reply.headers["Content-Type"], digest)

    identity.servers[REGISTRY] = forward
    return lambda image: check("pushed image", lambda: check_pushed_image(image.replace(registry, REGISTRY), "cloud"))


def test_what_was_built_and_pushed_is_well(pushed, project, registry, doctor, monkeypatch):
    monkeypatch.setenv("BASE_IMAGE", pushed("linux/amd64"))
    digest = build_and_push(project, f"{registry}/x/amd64:1")
    for name in (f"{registry}/x/amd64:1", digest):
        assert doctor(name) == Check("pushed image", True, digest.partition("@")[2])


def test_on_a_base_image_of_another_platform_nothing_is_pushed(pushed, project, registry, doctor, monkeypatch):
    """By the classic builder. BuildKit would label the image as it was asked to; see the next test."""
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    monkeypatch.setenv("BASE_IMAGE", pushed("linux/arm64"))
    image = f"{registry}/x/arm64:1"
    with pytest.raises(UserError, match=r"is for linux/arm64, and Vertex AI runs only linux/amd64. It was not pushed."):
        build_and_push(project, image)
    assert "is not in the registry yet" in doctor(image).message


def test_a_base_image_of_another_processor_ends_the_build_also_where_docker_would_label_it_wrongly(
    docker, make_project, tmp_path
):
    """BuildKit does, and it sets TARGETARCH. What another processor's image has of its own here is what uname prints."""
    (tmp_path / "Dockerfile").write_text(f"FROM {BASE}\nRUN ln -sf /bin/echo /usr/bin/uname\n")
    assert docker("build", "--tag", "foreign:1", str(tmp_path)).returncode == 0
    arguments = [item for one in ("BASE_IMAGE=foreign:1", "TARGETARCH=amd64") for item in ("--build-arg", one)]
    # A container of the classic builder that has failed stays, and other tests count those that do.
    done = docker("build", "--force-rm", "--tag", "foreign:2", *arguments, str(make_project()))
    assert done.returncode != 0
    assert "The base image is for -m, and the image is to be for linux/amd64." in done.stdout + done.stderr


def test_an_image_of_another_platform_fails_the_check_unless_it_has_a_variant_that_runs(
    docker, pushed, doctor, registry
):
    images = {platform: pushed(platform) for platform in ("linux/arm64", "linux/amd64")}
    arm64 = doctor(images["linux/arm64"])
    assert not arm64.ok
    assert "is for linux/arm64, and Vertex AI runs only linux/amd64." in arm64.message
    for platforms in (["linux/arm64"], ["linux/arm64", "linux/amd64"]):
        name = f"{registry}/x/index:{len(platforms)}"
        for command in (["create", name, *(images[platform] for platform in platforms)], ["push", "--purge", name]):
            done = docker("manifest", command[0], "--insecure", *command[1:])
            assert done.returncode == 0, done.stderr
        assert doctor(name).ok == ("linux/amd64" in platforms)
