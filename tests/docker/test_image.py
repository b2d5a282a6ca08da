"""What is in the image of a generated project, and what is not."""

import json
import re
import subprocess
import tarfile

import pytest
from docker_engine import BASE, SECRET, kedro

pytestmark = pytest.mark.slow

# Below /home/kedro; bytecode lies beside its source.
ALLOWED = re.compile(
    r"pyproject\.toml|requirements\.lock|data|data/01_raw|data/01_raw/penguins\.csv|(src|conf)(/\w+)*"
    r"|src/(\w+/)*\w+\.py|src/(\w+/)*__pycache__/\w+\.cpython-\d+\.pyc|conf/(\w+/)*\w+\.yml"
)


def inside(docker, image: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a command in a container of the image."""
    return docker("run", "--rm", "--network", "host", *options, image, *command)


def layers(docker, image: str) -> list[str]:
    return json.loads(docker("image", "inspect", image).stdout)[0]["RootFS"]["Layers"]


def test_the_projects_files_are_those_that_steps_need(docker, built):
    done = inside(docker, built.image, "find", ".", "-mindepth", "1", "-printf", "%P\n")
    files = done.stdout.splitlines()
    folders = {"checks", "cloud", "commands", "compile", "image", "infra", "local", "show"}
    launchers = {*folders, "git.py", "project.py", "seal.py", "upgrade.py"}
    paths = [path.relative_to(built.project) for path in built.project.glob("src/**/*.py")]
    code = {str(path) for path in paths if launchers.isdisjoint(path.parts)}
    assert len(code) > 30
    assert {file for file in files if file.endswith(".py")} == code
    assert "data/01_raw/penguins.csv" in files
    assert [file for file in files if not ALLOWED.fullmatch(file)] == []


def test_no_layer_has_a_secret_that_lay_about(docker, built, tmp_path):
    assert docker("save", "-o", str(tmp_path / "image.tar"), built.image).returncode == 0
    files_with_secret, seen = [], 0
    with tarfile.open(tmp_path / "image.tar") as image:
        for layer in image.getmembers():
            if not layer.name.endswith(".tar"):
                continue
            with tarfile.open(fileobj=image.extractfile(layer)) as files:
                for file in files:
                    name = file.name.lstrip("./")
                    if file.isfile() and (name.startswith("home/") or file.size < 10_000):
                        seen += name.startswith("home/kedro/src")
                        if SECRET.encode() in files.extractfile(file).read():
                            files_with_secret.append(name)
    assert seen > 50
    assert files_with_secret == []


def test_it_has_what_runs_and_nothing_of_what_launches(docker, built):
    script = (
        "import importlib.util, json, sys\n"
        "names = ['kedro', 'mlflow', 'vertexai_mlflow.step', 'kfp', 'google.cloud.aiplatform', 'pytest', 'ruff', 'pip']\n"
        "def there(name):\n"
        "    try:\n        return importlib.util.find_spec(name) is not None\n"
        "    except ModuleNotFoundError:\n        return False\n"
        "print(json.dumps([name for name in names if there(name)]))"
    )
    done = inside(docker, built.image, "python", "-c", script)
    assert json.loads(done.stdout) == ["kedro", "mlflow", "vertexai_mlflow.step"]


def test_dependencies_and_code_are_compiled(docker, built):
    script = (
        "import importlib.util, os, sys\n"
        "for name in ('kedro', 'mlflow', 'pandas', 'test_project', 'vertexai_mlflow.step'):\n"
        "    spec = importlib.util.find_spec(name)\n"
        "    assert os.path.exists(spec.cached), name"
    )
    done = inside(docker, built.image, "python", "-c", script)
    assert done.returncode == 0, done.stderr


def test_the_user_is_not_root_and_cannot_change_the_code(docker, built):
    script = (
        "import os\n"
        "print(os.getuid(), os.getgid())\n"
        "for path in ('src/test_project/settings.py', 'conf/base/catalog.yml', '/opt/venv/bin/python'):\n"
        "    assert not os.access(path, os.W_OK), path\n"
        "open('data/written', 'w'); open('/tmp/written', 'w')"
    )
    done = inside(docker, built.image, "python", "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["999", "999"]


def test_its_labels_tell_where_it_comes_from(docker, built):
    labels = json.loads(docker("image", "inspect", built.image).stdout)[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "test_project"
    assert labels["org.opencontainers.image.revision"] == built.commit


def test_it_is_for_linux_amd64(docker, built):
    (known,) = json.loads(docker("image", "inspect", built.image).stdout)
    assert (known["Os"], known["Architecture"]) == ("linux", "amd64")


def test_kedro_docker_builds_the_same_image(docker, built):
    """As root here: the plugin passes uid 0, and the image's user is another all the same."""
    done = kedro(
        built.project, "docker", "build", "--image", "by-kedro-docker:1", "--base-image", BASE,
        "--docker-args=--platform linux/amd64",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    user = inside(docker, "by-kedro-docker:1", "id", "-u").stdout.strip()
    assert user not in ("", "0")
    other = inside(
        docker,
        "by-kedro-docker:1",
        "python",
        "-c",
        "import vertexai_mlflow.step, kedro; print(kedro.__version__)",
    )
    assert other.returncode == 0, other.stderr
    # Base and dependencies are one and the same layers.
    assert layers(docker, "by-kedro-docker:1")[:2] == layers(docker, built.image)[:2]


def test_the_callers_ids_are_taken(docker, built):
    done = docker(
        "build", "-t", "ids:1", "--build-arg", "KEDRO_UID=1234", "--build-arg", "KEDRO_GID=5678", str(built.project)
    )
    assert done.returncode == 0, done.stderr
    assert inside(docker, "ids:1", "sh", "-c", "id -u; id -g").stdout.split() == ["1234", "5678"]
    assert layers(docker, "ids:1")[:2] == layers(docker, built.image)[:2]


def test_a_change_of_the_code_makes_only_small_layers(docker, built):
    """What is to be pushed after a change: the layers that the image before did not have."""
    nodes = built.project / "src/test_project/pipelines/penguins/nodes.py"
    before = nodes.read_text()
    nodes.write_text(before + "\n# changed\n")
    try:
        done = docker("build", "-t", "changed:1", str(built.project))
        assert done.returncode == 0, done.stderr
    finally:
        nodes.write_text(before)
    new = [layer for layer in layers(docker, "changed:1") if layer not in layers(docker, built.image)]
    assert len(new) == 1
    sizes = [
        int(size) for size in docker("history", "--human=false", "--format", "{{.Size}}", "changed:1").stdout.split()
    ]
    topmost = [size for size in sizes if size][: len(new)]
    assert sum(topmost) < 500_000


def test_a_new_commit_alone_makes_no_new_layer(docker, built):
    done = docker("build", "-t", "recommitted:1", "--build-arg", "REVISION=0123", str(built.project))
    assert done.returncode == 0, done.stderr
    assert layers(docker, "recommitted:1") == layers(docker, built.image)


def test_the_pipeline_runs_on_a_read_only_root_as_any_user(docker, built, mlflow_url):
    options = (
        "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/home/kedro/data/08_reporting:mode=1777", "--user", "12345:6789",
        "--env", f"MLFLOW_TRACKING_URI={mlflow_url}",
    )  # fmt: skip
    done = inside(docker, built.image, "kedro", "run", options=options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Pipeline execution completed successfully" in done.stdout + done.stderr


def test_a_project_without_the_example_builds_and_starts(docker, make_project):
    project = make_project(example="no")
    done = docker("build", "-t", "without-example:1", str(project))
    assert done.returncode == 0, done.stderr
    assert inside(docker, "without-example:1", "find", "data", "-type", "f").stdout == ""
    assert inside(docker, "without-example:1", "python", "-m", "vertexai_mlflow.step", "--help").returncode == 0


def test_another_python_is_a_build_argument(docker, make_project):
    """Debian's next release has Python 3.13, for which the lock has pins of its own.

    That all of the lock can be installed for it and runs the project is shown in tests/generated/test_pythons.py.
    """
    image, project = "test-project:other-python", make_project()
    lock = project / "requirements.lock"
    pins = re.findall(r"^[\w.-]+==.*?(?=^[\w.-]+==|\Z)", lock.read_text(), re.MULTILINE | re.DOTALL)
    few = [pin for pin in pins if pin.startswith(("numpy==", "cloudpickle=="))]
    (wanted,) = re.findall(r"numpy==(\S+) ; python_full_version >= '3.12'", "".join(few))
    assert len(few) == 3
    lock.write_text("".join(few))
    done = docker("build", "--quiet", "--build-arg", "BASE_IMAGE=python:3.13-slim", "--tag", image, ".", cwd=project)
    assert done.returncode == 0, done.stderr
    script = (
        "import sys, cloudpickle, numpy, vertexai_mlflow.contract\n"
        "print(*sys.version_info[:2], sys.prefix, numpy.__version__)\n"
    )
    ran = inside(docker, image, "python", "-c", script)
    assert ran.stdout.split() == ["3", "13", "/opt/venv", wanted], ran.stderr
