"""The image is built from a package index that wants a password, and has neither its address nor the password in it."""

import shutil
import tarfile
from pathlib import Path

import pytest
from docker_engine import BASE
from fakes.package_index import PASSWORD, make_wheel, package_index
from running import BIN, ROOT, commit, run

pytestmark = pytest.mark.slow
TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"


@pytest.fixture
def project(tmp_path) -> Path:
    """A small project that needs one package."""
    project = tmp_path / "shop"
    for name in ("src/shop", "src/vertexai_mlflow", "conf/base"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").touch()
    for name in ("Makefile", "Dockerfile", ".dockerignore"):
        text = (TEMPLATE / name).read_text()
        (project / name).write_text(
            "\n".join(line for line in text.splitlines() if not line.startswith(("{%", "!data")))
        )
    text = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["acme-core"]\n'
    (project / "pyproject.toml").write_text(
        text + '[project.optional-dependencies]\nlaunch = []\ndev = []\ngpu = ["acme-gpu"]\n'
    )
    return project


def test_no_layer_and_no_line_of_the_history_has_the_password(docker, project, tmp_path):
    make_wheel(tmp_path / "wheels", "acme_core", "1.2")
    make_wheel(tmp_path / "wheels", "acme_gpu", "1.0")
    with package_index(tmp_path / "wheels") as index:
        own = {
            "PIP_INDEX_URL": index.url,
            "UV_DEFAULT_INDEX": "",
            "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": str(tmp_path / "uv"),
        }
        own["PATH"] = f"{Path(shutil.which('docker')).parent}:{BIN}:/usr/bin:/bin"
        assert run("make", "lock", "EXTRAS=gpu", cwd=project, **own).returncode == 0
        commit(project)
        index.served.clear()
        built = run("make", "image", "IMAGE=shop:private", cwd=project, timeout=600, **own)
        with_extra = run("make", "image", "EXTRAS=gpu", cwd=project, timeout=600, **own)
    assert built.returncode == 0, built.stderr
    assert with_extra.returncode == 0, with_extra.stderr
    for image, code in (("shop:private", 1), ("shop-gpu:latest", 0)):
        assert docker("run", "--rm", "--network", "host", image, "python", "-c", "import acme_gpu").returncode == code
    assert any("/files/acme_core" in path for path in index.served)
    assert (
        docker("run", "--rm", "--network", "host", "shop:private", "python", "-c", "import acme_core").returncode == 0
    )
    printed = built.stdout + built.stderr  # pip says which index it asks, without the password
    texts = [docker(*command, "shop:private").stdout for command in (("history", "--no-trunc"), ("image", "inspect"))]
    assert docker("save", "-o", str(tmp_path / "image.tar"), "shop:private").returncode == 0
    seen = 0
    with tarfile.open(tmp_path / "image.tar") as image:
        for layer in image.getmembers():
            if not layer.name.endswith(".tar"):
                texts += [image.extractfile(layer).read().decode("latin-1")] if layer.isfile() else []
                continue
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                for file in filter(tarfile.TarInfo.isfile, files):
                    # What is as it was in the base image is of no interest.
                    if file.name.startswith(("opt/", "home/", "root/", "tmp/", "run/", "build/", "etc/")):
                        seen += 1
                        texts.append(files.extractfile(file).read().decode("latin-1"))
    assert seen > 10
    assert any("Name: acme_core" in text for text in texts)  # it is looked for where the package is
    plain = PASSWORD.replace("%2F", "/")
    host = index.url.rpartition("@")[2].partition("/")[0]
    assert [text[:200] for text in [printed, *texts] if PASSWORD in text or plain in text] == []
    assert [text[:200] for text in texts if host in text] == []
    assert BASE in docker("image", "inspect", "shop:private").stdout
