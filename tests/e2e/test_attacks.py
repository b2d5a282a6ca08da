"""Attacks on a whole run: hostile parameters and errors, and artifacts that somebody replaces between two steps."""

import json

import pytest
from hostile_text import HOSTILE, is_safe
from pipeline_runs import only_run, source, vertexai

pytestmark = pytest.mark.slow

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2lnbmF0dXJl"
# What a command line can have and Kedro's --params does not take apart, to be written as YAML. Linux allows an argument
# 128 KiB.
TYPABLE = {
    f"p{number}": text[:20_000].replace(",", ";")
    for number, text in enumerate(HOSTILE.values())
    if "\0" not in text and "\ud800" not in text and text == text.strip()
}


def test_hostile_parameters_arrive_and_a_hostile_error_is_told_as_text(with_pipeline):
    code = f"""
import json
from pathlib import Path

HOSTILE = json.loads({json.dumps(json.dumps([text[:2000] for text in HOSTILE.values()]))})


def take(given):
    Path("given.json").write_text(json.dumps(given))
    return 1


def fail(x):
    print(*(text.encode(errors="replace").decode() for text in HOSTILE), sep="\\n")
    raise ValueError("Bearer {TOKEN} " + "\\n".join(HOSTILE))
"""
    nodes = "Node(take, 'params:hostile', 'x', name='take'), Node(fail, 'x', 'y', name='fail')"
    project = with_pipeline(source(nodes, code))
    (project / "conf/base/parameters.yml").write_text("hostile: {}\n")
    params = ",".join(f"hostile.{name}={json.dumps(text)}" for name, text in TYPABLE.items())
    done = vertexai(project, "run-local", "-p", "under_test", "--params", params, HOME="/secret-home")
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert json.loads((project / "given.json").read_text()) == TYPABLE
    assert is_safe(done.stdout)
    assert is_safe(done.stderr)
    assert "/secret-home" not in done.stdout
    tags = only_run(project).data.tags
    assert tags["failed_node"] == "fail"
    assert tags["error"].startswith("ValueError: Bearer *** it's")
    assert is_safe(tags["error"])
    assert not list(project.rglob("hacked"))


def test_a_step_reads_no_artifact_that_somebody_has_replaced(with_pipeline):
    """Who may write to the bucket, a step of another job for instance, would run code in the next step."""
    code = """
import os
from pathlib import Path


class Attack:
    def __reduce__(self):
        return os.system, (f"touch {Path.cwd()}/hacked",)


def make():
    return 1


def meddle(x):
    import cloudpickle

    (file,) = Path(".vertexai").glob("*/make/data_x")
    file.write_bytes(cloudpickle.dumps(Attack()))
    return 2


def use(x, done):
    Path("used").touch()
"""
    nodes = """
        Node(make, None, "x", name="make"), Node(meddle, "x", "done", name="meddle"), Node(use, ["x", "done"], None, name="use"),
    """
    project = with_pipeline(source(nodes, code))
    done = vertexai(project, "run-local", "-p", "under_test")
    assert done.returncode == 1
    tags = only_run(project).data.tags
    assert tags["failed_node"] == "use"
    assert "data_x does not match its recorded SHA-256 (expected " in tags["error"]
    assert not (project / "hacked").exists()
    assert not (project / "used").exists()


def test_a_step_loads_no_model_that_somebody_has_replaced(with_pipeline):
    """Who may write a run's artifacts turns a model of any format into a pickle, and so into code."""
    code = """
import os
from pathlib import Path

import numpy
from sklearn.linear_model import LinearRegression


class Attack:
    def __reduce__(self):
        return os.system, (f"touch {Path.cwd()}/hacked",)


def fit():
    return LinearRegression().fit(numpy.array([[1.0], [2.0]]), numpy.array([2.0, 4.0]))


def meddle(model):
    import cloudpickle
    import re

    for about in Path().rglob("MLmodel"):
        text = re.sub("serialization_format: .*", "serialization_format: cloudpickle", about.read_text())
        about.write_text(text)
        (file,) = re.findall("pickled_model: (.*)", text)
        (about.parent / file).write_bytes(cloudpickle.dumps(Attack()))
    return 2


def use(model, done):
    Path("used").touch()
"""
    nodes = """
        Node(fit, None, "model", name="fit"), Node(meddle, "model", "done", name="meddle"),
        Node(use, ["model", "done"], None, name="use"),
    """
    project = with_pipeline(source(nodes, code))
    entry = (
        "{type: kedro_mlflow.io.models.MlflowModelTrackingDataset, flavor: mlflow.sklearn, save_args: {name: model}}"
    )
    (project / "conf/base/catalog.yml").write_text(f"model: {entry}\n")
    done = vertexai(project, "run-local", "-p", "under_test")
    assert done.returncode == 1, done.stdout + done.stderr
    tags = only_run(project).data.tags
    assert tags["failed_node"] == "use"
    assert "Dataset 'model', the model models:/" in tags["error"]
    assert "does not match its recorded SHA-256 (expected " in tags["error"]
    assert not (project / "hacked").exists()
    assert not (project / "used").exists()


def test_a_projects_own_secrets_are_written_nowhere_and_reach_the_step(with_pipeline):
    code = """
from pathlib import Path


def use(password, key, moment):
    Path("used.txt").write_text(f"{password} {key} {moment}")
"""
    nodes = "Node(use, ['params:database', 'params:api_key', 'params:moment'], None, name='use')"
    project = with_pipeline(source(nodes, code))
    settings = project / "src/test_project/settings.py"
    settings.write_text(
        settings.read_text()
        + """
CONFIG_LOADER_ARGS["custom_resolvers"] |= {
    "vault.read": lambda name: f"S3CR3T-{name}", "now": lambda: "today",
    "lookup": lambda name: f"postgresql://me:S3CR3T-{name}@host/db",
}
"""
    )
    parameters = {
        "database": "${vault.read:db}",
        "api_key": "${now:} S3CR3T",
        "url": "${lookup:x}",
        "moment": "${now:}",
    }
    (project / "conf/base/parameters.yml").write_text(json.dumps(parameters))
    done = vertexai(project, "run-local", "-p", "under_test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "used.txt").read_text() == "S3CR3T-db today S3CR3T today"
    written = [path for path in project.glob(".vertexai/**/*") if path.is_file()]
    assert written
    assert [str(path) for path in written if b"S3CR3T" in path.read_bytes()] == []
    assert "run_config.resolve_once: [lookup, now]" in vertexai(project, "plan", "-p", "under_test").stderr
