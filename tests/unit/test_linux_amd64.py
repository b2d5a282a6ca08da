"""Vertex AI runs only linux/amd64: an image is built for that, and one for anything else is found before a job fails."""

import json
import os
import platform
from contextlib import nullcontext
from pathlib import Path

import pytest
from fakes import artifact_registry
from fakes.artifact_registry import Image
from fakes.google_apis import Cloud
from fakes.google_identity import AMBIENT, Google
from running import run

from vertexai_mlflow import __version__
from vertexai_mlflow.checks.online import check_pushed_image
from vertexai_mlflow.contract.check import Check, check
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.image.docker import PLATFORM, build_and_push, refuse_other_version, wrong_platform

NAME = "project-42/images/test-project"
SLOW = (
    "The image is built for linux/amd64, because Vertex AI runs nothing else. This machine has a different CPU and has to "
    "emulate amd64, which is slow. Push to CI instead or, if only code has changed, use run-once --upload-code"
)
ATTESTED = {"index": True, "attested": True, "oci": True}
BOTH = ("linux/arm64", "linux/amd64")
DENIED = {(AMBIENT, "artifactregistry.repositories.downloadArtifacts")}


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A docker that knows one image, of a platform that the test chooses; what it is told."""
    told = tmp_path / "told"
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(
        f'#!/bin/sh\necho "$@" ${{BUILDX_NO_DEFAULT_ATTESTATIONS:+without attestations}} >> {told}\n[ "$2" != inspect ] || cat {tmp_path}/inspected 2>/dev/null\n'
    )
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def docker(os_: str = "linux", architecture: str = "amd64") -> Path:
        digests = [f"x/y@sha256:{'a' * 64}"]
        known = [{"Os": os_, "Architecture": architecture, "RepoDigests": digests, "Config": {}}]
        (tmp_path / "inspected").write_text(json.dumps(known))
        return told

    return docker


@pytest.fixture
def doctor(identity: Google):
    """What doctor says about an image that was pushed."""

    def doctor(image: Image, reference: str = ":latest", host: str = "europe-west1-docker.pkg.dev") -> Check:
        cloud = Cloud(images={f"{NAME}:latest": image})
        artifact_registry.serve(identity, host, cloud)
        return check("pushed image", lambda: check_pushed_image(f"{host}/{NAME}{reference}", "cloud"))

    return doctor


def test_an_image_is_built_for_what_vertex_ai_runs(docker, tmp_path):
    told = docker()
    assert build_and_push(tmp_path, "x/y:1") == f"x/y@sha256:{'a' * 64}"
    (built,) = (line for line in told.read_text().splitlines() if line.startswith("build "))
    assert built.startswith("build --platform linux/amd64 --tag x/y:1 ")
    assert built.endswith(" without attestations")


@pytest.mark.parametrize("machine", ["arm64", "aarch64", "ARM64", "x86_64", "AMD64"])
def test_another_processor_is_told_before_the_build_that_it_will_be_slow(machine, docker, tmp_path, monkeypatch, capfd):
    docker()
    monkeypatch.setattr(platform, "machine", lambda: machine)
    build_and_push(tmp_path, "x/y:1")
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ("" if machine in ("x86_64", "AMD64") else f"{SLOW}\n")


def test_an_image_of_another_platform_is_not_pushed(docker, tmp_path):
    told = docker("linux", "arm64")
    with pytest.raises(UserError) as refused:
        build_and_push(tmp_path, "x/y:1")
    message = str(refused.value)
    assert message.startswith("Image x/y:1 is for linux/arm64, and Vertex AI runs only linux/amd64. It was not pushed.")
    assert "BASE_IMAGE" in message
    assert "build " in told.read_text()
    assert "push" not in told.read_text()


def test_only_an_image_that_is_known_here_and_of_another_platform_is_doubted(docker):
    assert wrong_platform("x/y:1") == ""  # docker knows no such image
    docker()
    assert wrong_platform("x/y:1") == ""
    docker("windows", "amd64")
    assert wrong_platform("x/y:1") == "Image x/y:1 is for windows/amd64, and Vertex AI runs only linux/amd64."


@pytest.mark.parametrize(
    "image",
    [Image(), Image(oci=True), Image(index=True), Image(BOTH, index=True), Image(**ATTESTED), Image(BOTH, **ATTESTED)],
    ids=str,
)
@pytest.mark.parametrize("host", ["europe-west1-docker.pkg.dev", "gcr.io"])
def test_an_image_with_a_variant_for_linux_amd64_is_well(image, host, doctor):
    for reference in (":latest", "", f"@{image.digest}", f":latest@{image.digest}"):
        assert doctor(image, reference, host) == Check("pushed image", True, image.digest)


@pytest.mark.parametrize(
    ("image", "platforms"),
    [
        (Image(("linux/arm64",)), "linux/arm64"),
        (Image(("linux/arm64",), oci=True), "linux/arm64"),
        (Image(("windows/amd64",)), "windows/amd64"),
        (Image(("linux/arm64",), **ATTESTED), "linux/arm64"),
        (Image(("linux/s390x", "linux/arm64"), index=True), "linux/arm64, linux/s390x"),
    ],
    ids=str,
)
def test_an_image_for_other_platforms_only_fails_the_check(image, platforms, doctor):
    result = doctor(image)
    assert not result.ok
    assert result.message == (
        f"europe-west1-docker.pkg.dev/{NAME}:latest is for {platforms}, and Vertex AI runs only linux/amd64. "
        f"Build it again and push it: kedro vertexai -e cloud push --image europe-west1-docker.pkg.dev/{NAME}:latest"
    )


@pytest.mark.parametrize("image", [Image(("",)), Image(("",), index=True), Image((), **ATTESTED | {"attested": False})])
def test_an_image_that_does_not_tell_its_platform_is_a_warning(image, doctor):
    result = doctor(image)
    assert result.doubtful
    assert "exists but declares no platform" in result.message


def test_who_may_not_read_the_registry_gets_a_warning(identity):
    host = "europe-west1-docker.pkg.dev"
    artifact_registry.serve(identity, host, Cloud(images={f"{NAME}:latest": Image()}, denied=DENIED))
    result = check("pushed image", lambda: check_pushed_image(f"{host}/{NAME}:latest", "cloud"))
    assert result.doubtful
    assert "Could not check" in result.message
    assert "without roles/artifactregistry.reader" in result.message


def test_an_image_that_is_not_there_fails_the_check(doctor):
    result = doctor(Image(), ":other")
    assert not result.ok
    assert "is not in the registry yet" in result.message


@pytest.mark.parametrize("machine", ["arm64", "aarch64", "x86_64"])
def test_make_image_builds_for_the_same_platform_and_says_the_same(machine, docker, tmp_path):
    docker()
    uname = tmp_path / "bin/uname"
    uname.write_text(f"#!/bin/sh\necho {machine}\n")
    uname.chmod(0o755)
    makefile = Path(__file__).parents[2] / "{{ cookiecutter.repo_name }}/Makefile"
    done = run("make", "--silent", "--file", makefile, "image", "BASE_IMAGE=b", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "told").read_text().startswith(f"build --platform {PLATFORM} --tag ")
    assert done.stderr == ("" if machine == "x86_64" else f"{SLOW}\n")


TITLE = "org.opencontainers.image.title"
VERSION = "vertexai_mlflow.version"


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize(
    ("labels", "version"),
    [
        ({TITLE: "p", VERSION: __version__}, ""),
        ({TITLE: "p", VERSION: ""}, ""),  # built by plain `docker build`, which does not say
        ({}, ""),  # somebody's own image, which is none of a project
        ({TITLE: "p", VERSION: "9.9.9"}, "9.9.9"),
        ({TITLE: "p"}, "0.1.0"),
    ],
)
def test_an_image_with_another_version_of_the_platform_is_refused(doctor, labels, version, index):
    """Steps run its modules by name, and 0.1.0 had none of that name."""
    message = doctor(Image(platforms=("linux/amd64",), labels=tuple(labels.items()), index=index, attested=index))
    assert message.ok == (not version)
    if version:
        assert (
            f"has version {version} of the platform, and this project has {__version__}. Build it again."
            in message.message
        )


@pytest.mark.parametrize(("label", "is_refused"), [(__version__, False), ("9.9.9", True)])
def test_an_image_on_this_machine_with_another_version_is_refused(docker, tmp_path, label, is_refused):
    docker()
    known = json.loads((tmp_path / "inspected").read_text())
    known[0]["Config"] = {"Labels": {TITLE: "p", VERSION: label}}
    (tmp_path / "inspected").write_text(json.dumps(known))
    with pytest.raises(UserError, match=r"docker pull x/y:1$") if is_refused else nullcontext():
        refuse_other_version("x/y:1")
