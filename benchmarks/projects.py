"""The projects that are measured: one of this starter, and the peer's in an environment of its own."""

import os
from pathlib import Path

from timing import BIN, ROOT, command

PEER = ROOT / "build" / "peer"

# Of the peer's environment: ``aiplatform.init`` does nothing.
WITHOUT_INIT = """
import importlib.util
import sys

class WithoutInit:
    def find_spec(self, name, path=None, target=None):
        if name != "google.cloud.aiplatform":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def execute_without_init(module):
            execute(module)
            module.init = lambda *args, **kwargs: None
        spec.loader.exec_module = execute_without_init
        return spec

sys.meta_path.insert(0, WithoutInit())
"""

PIPELINE = """
from kedro.pipeline import Pipeline, node

def trivial():
    return 1

def create_pipeline(**_kwargs):
    return Pipeline([node(trivial, None, "one", name="trivial")])
"""

# The first half a chain, the second half fans out from its end, the last node joins them all.
SHAPE = """
from kedro.pipeline import Pipeline, node

COUNT = {count}

def one(*inputs):
    return 1

def create_pipeline(**_kwargs):
    half = COUNT // 2
    chain = [node(one, f"d{{i - 1}}" if i else None, f"d{{i}}", name=f"n{{i}}") for i in range(half)]
    fan = [node(one, f"d{{half - 1}}", f"d{{i}}", name=f"n{{i}}") for i in range(half, COUNT - 1)]
    ends = [f"d{{i}}" for i in range(half, COUNT - 1)]
    return Pipeline([*chain, *fan, node(one, ends, None, name=f"n{{COUNT - 1}}")])
"""


def bake(folder: Path) -> Path:
    """A project without the example, with one trivial node."""
    answers = ["example=no", "project_name=Bench"]
    command([str(BIN / "cookiecutter"), str(ROOT), "--no-input", "-o", str(folder), *answers], ROOT)
    package = folder / "bench/src/bench/pipelines/trivial"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PIPELINE)
    return folder / "bench"


def shape(package: Path, count: int) -> None:
    """Make a project's pipeline ``shaped`` one of that many nodes."""
    folder = package / "pipelines/shaped"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").write_text(SHAPE.format(count=count))


def peer_project() -> tuple[Path, dict[str, str]]:
    """A project with kedro-vertexai in an environment of its own, ``aiplatform.init`` doing nothing: there are no
    credentials here.

    Returns:
        The project, and the environment variables of its commands.
    """
    quiet = {"PYTHONPATH": str(PEER), "PATH": f"{PEER / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    python = PEER / ".venv/bin/python"
    if not python.exists():
        uv = str(BIN / "uv")
        command([uv, "venv", "-q", "--python", str(BIN / "python"), str(PEER / ".venv")], ROOT)
        packages = ["kedro-vertexai[mlflow]==1.0.0", "kedro==1.0.*", "kedro-datasets"]
        packages += ["sqlalchemy<2.1", "setuptools<81"]  # it does not start with newer ones
        command([uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), *packages], ROOT)
    project = PEER / "peer"
    if not project.exists():
        new = ["kedro", "new", "--name", "peer", "--tools", "none", "--example", "no", "--telemetry", "no"]
        command(new, PEER, PATH=quiet["PATH"])
        package = project / "src/peer/pipelines/trivial"
        package.mkdir()
        (package / "__init__.py").write_text(PIPELINE)
        command(["kedro", "mlflow", "init"], project, PATH=quiet["PATH"])
        (project / "conf/base/vertexai.yml").write_text(
            "project_id: p\nregion: europe-west1\nrun_config:\n  image: x\n  root: bucket/root\n  experiment_name: e\n"
            "  schedules:\n    default_schedule:\n      cron_expression: '0 * * * *'\n"
        )
        (PEER / "sitecustomize.py").write_text(WITHOUT_INIT)
    return project, quiet
