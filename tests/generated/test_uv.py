"""A project that uv manages: it installs and runs by uv, and the image's locks are what uv.lock says."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.package_index import SHOP, Index, index_of_the_shop, make_wheel
from running import BIN, ROOT, commit, run

from kedro_vertexai_mlflow.adopt.locks import resolve_locks
from kedro_vertexai_mlflow.adopt.plan import Plan
from kedro_vertexai_mlflow.adopt.project import Project

pytestmark = pytest.mark.slow

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"
LOCKS = ("requirements.lock", "requirements-launch.lock")


@pytest.fixture
def index(tmp_path) -> Iterator[Index]:
    with index_of_the_shop(tmp_path / "wheels") as index:
        yield index


@pytest.fixture
def own(index, tmp_path) -> dict[str, str]:
    return {"UV_DEFAULT_INDEX": index.url, "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}


@pytest.fixture
def project(tmp_path, own) -> Path:
    """A project with a uv.lock, after which a newer version has come out."""
    project = tmp_path / "shop"
    project.mkdir()
    for name in ("Makefile", "Dockerfile"):
        shutil.copy(TEMPLATE / name, project)
    (project / "pyproject.toml").write_text(SHOP)
    done = run(BIN / "uv", "lock", cwd=project, **own)
    assert done.returncode == 0, done.stderr
    make_wheel(tmp_path / "wheels", "acme_core", "1.3")
    return project


def pins(text: str) -> set[str]:
    return set(re.findall(r"^[\w.-]+==[^\s;]+(?= )", text, re.MULTILINE))


def test_the_images_locks_are_what_uv_lock_says(project, own):
    done = run("make", "lock", cwd=project, **own)
    assert done.returncode == 0, done.stderr
    image, launch = ((project / lock).read_text() for lock in LOCKS)
    assert (pins(image), pins(launch)) == ({"acme-core==1.2"}, {"acme-core==1.2", "acme-tools==3.0"})
    assert "--hash=sha256:" in image
    assert "127.0.0.1" not in image + launch
    # Without a uv.lock, they are resolved anew.
    (project / "uv.lock").unlink()
    assert run("make", "lock", cwd=project, **own).returncode == 0
    assert pins((project / "requirements.lock").read_text()) == {"acme-core==1.3"}


def test_adopting_keeps_what_uv_lock_says_and_adds_what_is_new(project, own, tmp_path, monkeypatch):
    make_wheel(tmp_path / "wheels", "acme_new", "1.0")
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    merged = SHOP.replace('["acme-core>=1"]', '["acme-core>=1", "acme-new"]')
    plan = Plan(files={"pyproject.toml": merged.encode()})
    assert resolve_locks(Project(project, "Shop", "shop", "1.7.0"), plan, ROOT) == ""
    assert pins(plan.files["requirements.lock"].decode()) == {"acme-core==1.2", "acme-new==1.0"}
    assert b'name = "acme-new"' in plan.files["uv.lock"]
    assert 'name = "acme-new"' not in (project / "uv.lock").read_text()


@pytest.mark.parametrize("has_uv_lock", [True, False])
def test_an_extra_gets_a_lock_of_its_own_which_is_renewed_with_the_others(has_uv_lock, project, own, tmp_path):
    make_wheel(tmp_path / "wheels", "acme_gpu", "1.0", "acme-core")
    (project / "pyproject.toml").write_text(SHOP + 'gpu = ["acme-gpu"]\n')
    if not has_uv_lock:
        (project / "uv.lock").unlink()
    core = "acme-core==1.2" if has_uv_lock else "acme-core==1.3"
    (project / "requirements-docs.lock").write_text("of something else\n")
    for arguments in (["lock", "EXTRAS=gpu"], ["lock"]):
        done = run("make", *arguments, cwd=project, **own)
        assert done.returncode == 0, done.stderr
        assert pins((project / "requirements-gpu.lock").read_text()) == {core, "acme-gpu==1.0"}
        assert pins((project / "requirements.lock").read_text()) == {core}
        (project / "requirements-gpu.lock").write_text("old\n")
    assert (project / "requirements-docs.lock").read_text() == "of something else\n"
    done = run("make", "lock", "EXTRAS=gqu", cwd=project, **own)
    assert done.returncode == 2
    assert "gqu" in done.stderr


def test_uv_sync_and_uv_run_work_in_a_generated_project(bake):
    project = bake()
    commit(project)
    for command in (["sync", "--quiet"], ["run", "--quiet", "kedro", "vertexai", "plan"]):
        done = run(BIN / "uv", *command, cwd=project, timeout=600, VIRTUAL_ENV="")
        assert done.returncode == 0, done.stderr
    assert "train_forest" in done.stdout
    assert (project / "uv.lock").is_file()
    assert run("git", "status", "--porcelain", cwd=project).stdout == "?? uv.lock\n"
