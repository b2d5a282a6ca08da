"""A package index of a company that wants a password: locks, installing and doctor take it, and no file names it."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.package_index import PASSWORD, SHOP, Index, index_of_the_shop, make_wheel
from running import BIN, ROOT, run

from vertexai_mlflow.checks.index import check_index
from vertexai_mlflow.errors import UserError

pytestmark = pytest.mark.slow

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"


@pytest.fixture
def index(tmp_path) -> Iterator[Index]:
    with index_of_the_shop(tmp_path / "wheels") as index:
        yield index


@pytest.fixture
def project(tmp_path) -> Path:
    project = tmp_path / "shop"
    project.mkdir()
    for name in ("Makefile", "Dockerfile"):
        shutil.copy(TEMPLATE / name, project)
    (project / "pyproject.toml").write_text(SHOP)
    return project


@pytest.fixture
def own(tmp_path) -> dict[str, str]:
    """Variables of somebody who has no other settings for pip and uv."""
    nothing = dict.fromkeys(
        ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX"), ""
    )
    return {**nothing, "PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}


@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_the_locks_are_resolved_from_it_and_name_neither_host_nor_password(variable, index, project, own):
    done = run("make", "lock", cwd=project, **{**own, variable: index.url})
    assert done.returncode == 0, done.stderr
    assert {path.split("/")[-2] for path in index.served if "/simple/" in path} == {"acme-core", "acme-tools"}
    for lock in (project / "requirements.lock", project / "requirements-launch.lock"):
        text = lock.read_text()
        assert "acme-core==1.2" in text
        assert "--hash=sha256:" in text
        assert "127.0.0.1" not in text
        assert PASSWORD not in text
    assert PASSWORD not in done.stdout + done.stderr


def test_make_install_takes_the_packages_from_it(index, project, own, tmp_path):
    assert run("make", "lock", cwd=project, PIP_INDEX_URL=index.url, **own).returncode == 0
    index.served.clear()
    assert run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "env", cwd=tmp_path).returncode == 0
    # The project itself comes from no index.
    pip = tmp_path / "pip"
    python = tmp_path / "env/bin/python"
    pip.write_text(f'#!/bin/sh\ncase "$*" in *-e*) ;; *) exec {BIN}/python -m pip --python {python} "$@";; esac\n')
    pip.chmod(0o755)
    own |= {"PATH": f"{tmp_path}:/usr/bin:/bin", "UV_DEFAULT_INDEX": index.url, "PIP_NO_CACHE_DIR": "1"}
    done = run("make", "install", cwd=project, **own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.rpartition("/")[2] for path in index.served if "/files/" in path} == {
        "acme_core-1.2-py3-none-any.whl", "acme_tools-3.0-py3-none-any.whl",
    }  # fmt: skip
    assert run(python, "-c", "import acme_core, acme_tools", cwd=tmp_path).returncode == 0
    assert PASSWORD not in done.stdout + done.stderr


def test_doctor_names_what_the_locks_pin_and_the_index_does_not_give(index, project, own, tmp_path, monkeypatch):
    assert run("make", "lock", cwd=project, PIP_INDEX_URL=index.url, **own).returncode == 0
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    assert check_index(project) == "127.0.0.1 gives all 2 packages of the locks"
    # Of the same name and version, and yet another file.
    make_wheel(tmp_path / "wheels", "acme_core", "1.2", "added")
    (tmp_path / "wheels/acme_tools-3.0-py3-none-any.whl").unlink()
    with pytest.raises(UserError) as error:
        check_index(project)
    assert "does not give what the locks pin: acme-core==1.2, acme-tools==3.0. Ask its" in str(error.value)
    assert PASSWORD not in str(error.value)


def test_doctor_says_that_the_index_wants_a_password(index, project, own, monkeypatch):
    assert run("make", "lock", cwd=project, PIP_INDEX_URL=index.url, **own).returncode == 0
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace(PASSWORD, "wrong"))
    with pytest.raises(UserError, match=r"^127\.0\.0\.1, which PIP_INDEX_URL names, answers 401"):
        check_index(project)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(UserError, match=r"^127\.0\.0\.1, which PIP_INDEX_URL names: ConnectionError\.$"):
        check_index(project)
