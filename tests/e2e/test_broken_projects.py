"""Broken code and configuration end every command with one sentence that says where, and never with a traceback."""

import pytest
from running import BIN, run

pytestmark = pytest.mark.slow

PIPELINE = """
from kedro.pipeline import Node, Pipeline
from . import nodes


def create_pipeline(**_kwargs):
    return Pipeline([Node(nodes.show, "sales", None, name="show")])
"""
NODES = "def show(sales):\n    print(sales)\n"
CATALOG = "sales: {type: json.JSONDataset, filepath: 'data/01_raw/sales.json'}\n"
COMMANDS = (["plan"], ["compile"], ["run-local"], ["run-once", "--dry-run"], ["doctor", "--offline"])


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "src/test_project/pipelines/under_test/nodes.py", f"{NODES}\n\nundefined\n",
            "src/test_project/pipelines/under_test/nodes.py, line 5: NameError: name 'undefined' is not defined (pipeline module test_project.pipelines.under_test)",
        ),
        (
            "conf/base/catalog.yml", CATALOG.replace("sales.json", "${runtime_params:day}.json"),
            "conf/base/catalog.yml: sales.filepath needs the runtime parameter 'day'; give it with --params day=…",
        ),
    ],
)  # fmt: skip
def test_every_command_names_the_place(with_pipeline, file, text, said):
    project = with_pipeline(PIPELINE)
    (project / "src/test_project/pipelines/under_test/nodes.py").write_text(NODES)
    (project / "conf/base/catalog.yml").write_text(CATALOG)
    (project / file).write_text(text)
    for command in COMMANDS:
        done = run(BIN / "kedro", "vertexai", *command, cwd=project)
        assert done.returncode == 1, command
        assert said in done.stdout + done.stderr, command
        assert "Traceback" not in done.stdout + done.stderr, command
        assert not (project / "pipeline.json").exists()
    assert f"✗ pipeline       {said}" in done.stdout.splitlines()


def test_broken_globals_are_named(with_pipeline):
    project = with_pipeline(PIPELINE)
    (project / "conf/base/globals.yml").write_text("a: [\n")
    done = run(BIN / "kedro", "vertexai", "plan", cwd=project)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: conf/base/globals.yml, line 2: did not find expected")


def test_a_runtime_parameter_that_a_file_needs_is_enough_when_it_is_given(with_pipeline):
    project = with_pipeline(PIPELINE.replace('"sales"', '"params:cutoff"'))
    (project / "src/test_project/pipelines/under_test/nodes.py").write_text(NODES)
    (project / "conf/base/parameters.yml").write_text("cutoff: ${runtime_params:cutoff}\n")
    compile_ = (BIN / "kedro", "vertexai", "compile", "--params")
    done = run(*compile_, "cutoff=3", cwd=project)
    assert done.returncode == 0, done.stderr
    done = run(*compile_, "cutof=3", cwd=project)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: conf/base/parameters.yml: cutoff needs the runtime parameter 'cutoff'; give it with --params cutoff=…"
    )
