"""What is given to `make` of a generated project arrives as it was written, and nothing evaluates it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from running import ROOT, environment, run

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"
HOSTILE = [
    "$(shell touch planted)", "${shell touch planted}", "$(touch planted)", "`touch planted`", "'; touch planted; '",
    '"; touch planted; "', "$$(touch planted)", "a=$HOME", "$(error stop)", "%0A::notice::x",
]  # fmt: skip
# Targets with a variable each, as the help shows them.
TARGETS = [
    ("image", "IMAGE"), ("image", "BASE_IMAGE"), ("launch", "PARAMS"), ("launch", "JOB"), ("launch", "PIPELINE"),
    ("launch", "ENV"), ("summary", "FORMAT"), ("page", "JOB"), ("base", "BASE_IMAGE"), ("image", "EXTRAS"),
]  # fmt: skip


@pytest.fixture
def make(tmp_path):
    """Run a target in a folder with the Makefile; the programs that it calls only print what they are called with."""
    for name in ("Makefile", "Dockerfile"):
        shutil.copy(TEMPLATE / name, tmp_path)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "kedro", "pip", "git", "python"):
        (programs / name).write_text("#!/bin/sh\nprintf 'argument:%s\\n' \"$@\"\n")
        (programs / name).chmod(0o755)

    def make(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["make", "--silent", *arguments], cwd=tmp_path, env=environment(PATH=path, **variables),
            capture_output=True, text=True,
        )  # fmt: skip

    return make


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(("target", "name"), TARGETS)
def test_a_value_is_never_evaluated(text, target, name, make, tmp_path):
    for done in (make(target, f"{name}={text}"), make(target, **{name: text})):
        assert not (tmp_path / "planted").exists()
        # `make base` asks for a digest, and the docker of this test gives none.
        assert done.returncode == (2 if target == "base" else 0), done.stderr
        if target != "base":
            given = done.stdout.splitlines()
            assert f"argument:{text}" in given or f"argument:{name}={text}" in given


def test_pin_names_every_image_of_dockerfile_and_ci_by_digest_and_renews_the_digests(make, tmp_path):
    files = ["Dockerfile", ".gitlab-ci.yml", ".github/workflows/ci.yml"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TEMPLATE / name, tmp_path / name)
    docker = tmp_path / "bin/docker"
    for letter in "ab":
        docker.write_text(
            f'#!/bin/sh\ntest "$*" = "buildx imagetools inspect $4" || exit 9\n'
            f"printf 'Name:      %s\\nDigest:    sha256:%s\\n' \"$4\" {letter * 64}\n"
        )
        audited = make("unpinned").stdout.splitlines() if letter == "a" else []
        assert len(audited) == (4 if letter == "a" else 0)
        done = make("pin")
        assert done.returncode == 0, done.stderr
        images = ["docker:28-dind", "moby/buildkit:buildx-stable-1", "python:3.11-slim", "python:3.11-trixie"]
        assert sorted(done.stdout.splitlines()) == [f"{image}@sha256:{letter * 64}" for image in images]
        text = "".join((tmp_path / name).read_text() for name in files)
        assert text.count(f"@sha256:{letter * 64}") == 4
        assert make("unpinned").stdout == ""
    for name in files:
        pinned = (tmp_path / name).read_text().replace(f"@sha256:{'b' * 64}", "")
        assert pinned == (TEMPLATE / name).read_text()
    assert {path.name for path in tmp_path.rglob("*.bak")} == set()


def test_a_name_of_an_image_is_no_command_of_sed(make, tmp_path):
    (tmp_path / "bin/docker").write_text("#!/bin/sh\necho Digest: sha256:ab\n")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("=python:3.11-slim\n", "=x#y#;s#.*#touch$IFS''planted#e;#\n"))
    make("pin")
    assert not (tmp_path / "planted").exists()


def test_pin_changes_nothing_if_a_registry_does_not_answer(make, tmp_path):
    before = (tmp_path / "Dockerfile").read_text()
    done = make("pin")
    assert done.returncode == 2
    assert "python:3.11-slim" in done.stderr
    assert (tmp_path / "Dockerfile").read_text() == before


def test_an_image_with_an_extra_has_a_name_of_its_own(make, tmp_path):
    words = make("image", "EXTRAS=gpu").stdout.splitlines()
    assert f"argument:{tmp_path.name.lower()}-gpu:latest" in words
    assert "argument:EXTRAS=gpu" in words
    assert not any("EXTRAS" in word for word in make("image").stdout.splitlines())


def test_an_image_is_promoted_by_copying_it_and_keeps_its_digest(make, tmp_path):
    (tmp_path / "bin/kedro").write_text("#!/bin/sh\necho image=prod/p:latest\necho repository=prod/p\n")
    digest = "sha256:" + "a" * 64
    done = make("copy-image", f"IMAGE=staging/p@{digest}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"prod/p@{digest}\n"
    words = [line.removeprefix("argument:") for line in done.stderr.splitlines()]
    # A copy of an index's only image would be an image with another digest, unless docker is told otherwise.
    assert words == [
        "buildx",
        "imagetools",
        "create",
        "--prefer-index=false",
        "--tag",
        "prod/p:latest",
        f"staging/p@{digest}",
    ]
    (tmp_path / "bin/docker").write_text("#!/bin/sh\nexit 1\n")
    assert make("copy-image", f"IMAGE=staging/p@{digest}").stdout == ""


def test_the_image_is_named_after_the_folder_and_built_on_what_the_dockerfile_says(make, tmp_path):
    given = make("image").stdout.splitlines()
    assert f"argument:{tmp_path.name.lower()}:latest" in given
    assert "argument:BASE_IMAGE=python:3.11-slim" in given
    pinned = f"python:3.11-slim@sha256:{'a' * 64}"
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("BASE_IMAGE=python:3.11-slim\n", f"BASE_IMAGE={pinned}\n"))
    assert f"argument:BASE_IMAGE={pinned}" in make("image").stdout.splitlines()


def of_the_repository(target: str, folder: Path) -> list[str]:
    """The commands of a target of this repository's Makefile in a fresh clone, without running them."""
    done = run("make", "-n", target, f"VENV={folder}/venv", f"BIN={folder}/venv/bin", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_site_is_built_with_what_it_needs_and_nothing_else(tmp_path):
    commands = of_the_repository("docs", tmp_path)
    assert [line.partition("--group ")[2] for line in commands if "--group" in line] == ["docs"]
    assert not any("npm" in line for line in commands)
    assert commands[-1].endswith("zensical build --clean --strict")


def test_the_demo_counts_all_its_seconds_and_shows_what_takes_minutes(tmp_path):
    commands = of_the_repository("demo", tmp_path)
    (start,) = [number for number, line in enumerate(commands) if line.endswith('start" >> build/demo-times')]
    installs = [number for number, line in enumerate(commands) if "uv pip install" in line or " -m venv " in line]
    assert len(installs) == 3
    assert start < min(installs)
    assert not any("build/demo-times" in line and "rm " in line for line in commands[start:])
    assert not any("-q" in commands[number].split() for number in installs)
