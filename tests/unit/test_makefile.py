"""What is given to `make` of a generated project arrives as it was written, and nothing evaluates it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from running import ROOT, run

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"
HOSTILE = [
    "$(shell touch planted)", "${shell touch planted}", "$(touch planted)", "`touch planted`", "'; touch planted; '",
    '"; touch planted; "', "$$(touch planted)", "a=$HOME", "$(error stop)", "%0A::notice::x",
]  # fmt: skip
# Targets with a variable each, as the help shows them.
TARGETS = [
    ("image", "IMAGE"), ("image", "BASE_IMAGE"), ("launch", "PARAMS"), ("launch", "JOB"), ("launch", "PIPELINE"),
    ("launch", "ENV"), ("summary", "FORMAT"), ("base", "BASE_IMAGE"),
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
            ["make", "--silent", *arguments], cwd=tmp_path, env={**os.environ, "PATH": path, **variables},
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
