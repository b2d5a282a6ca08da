"""Whatever the pipeline: compiled and executed it gives what ``kedro run`` gives, dataset by dataset."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import yaml
from graphs import SOURCE, Graph, graphs
from hypothesis import HealthCheck, given
from running import environment
from starter.vertexai.local import run_spec
from warm_python import warm_python

pytestmark = pytest.mark.slow

MODULES = [
    "kedro.framework.cli.cli",
    "kedro.framework.context",
    "kedro.framework.session",
    "kedro.runner",
    "kedro_mlflow.framework.hooks",
    "kfp",
    "pandas",
    "mlflow.store.tracking.sqlalchemy_store",
    "rich.table",
]


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Iterator[Path]:
    with warm_python(tmp_path_factory.mktemp("warm"), MODULES, environment()) as python:
        yield python


@pytest.fixture(scope="module")
def both(python, baked, tmp_path_factory) -> Callable[[Graph], tuple[dict[str, str], dict[str, str]]]:
    """Run a graph with ``kedro run`` and as compiled; what each of its nodes wrote down, both ways."""
    folder = tmp_path_factory.mktemp("both")
    project = shutil.copytree(baked(project_name="Test Project", example="no"), folder / "test-project")
    package = project / "src/test_project/pipelines/under_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    # Values are what is compared here; with MLflow a step takes seconds.
    settings = project / "src/test_project/settings.py"
    settings.write_text(settings.read_text() + '\nDISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)\n')
    (project / "conf/base/parameters.yml").write_text("salt: plain\n")

    def both(graph: Graph) -> tuple[dict[str, str], dict[str, str]]:
        (project / "graph.json").write_text(json.dumps({"nodes": graph.nodes}))
        (project / "conf/base/catalog.yml").write_text(yaml.safe_dump(graph.catalog))
        (project / "conf/base/vertexai.yml").write_text(
            yaml.safe_dump({"run_config": {"image": "x", "grouping": {"cls": graph.grouper}}})
        )
        records = []
        for name in ("kedro", "compiled"):
            for left in ("data", ".vertexai"):
                shutil.rmtree(project / left, ignore_errors=True)
            record = folder / name
            shutil.rmtree(record, ignore_errors=True)
            record.mkdir()
            records.append(record)
        variables = environment(RECORD=str(records[0]))

        def kedro(*arguments: str) -> subprocess.CompletedProcess[str]:
            argv = [python, "-m", "kedro", *arguments]
            return subprocess.run(argv, cwd=project, env=variables, capture_output=True, text=True, timeout=120)

        compiled = kedro("vertexai", "compile")
        hypothesis.assume("wait for each other" not in compiled.stderr)
        assert compiled.returncode == 0, compiled.stderr
        done = kedro("run", "--params", "salt=it's $(salt)")
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.rmtree(project / "data", ignore_errors=True)
        spec = json.loads((project / "pipeline.json").read_text())
        for executor in spec["deploymentSpec"]["executors"].values():
            executor["container"]["command"][0] = str(python)
            executor["container"]["env"] = [
                {"name": "RECORD", "value": str(records[1])}, {"name": "PYTHONPATH", "value": str(project / "src")},
            ]  # fmt: skip
        job = run_spec(spec, folder=project / ".vertexai", cwd=project, parameters={"params": {"salt": "it's $(salt)"}})
        logs = "".join(Path(task.log).read_text() for task in job.tasks.values() if task.state == "FAILED")
        assert job.state == "SUCCEEDED", logs
        as_kedro, as_compiled = ({path.name: path.read_text() for path in record.iterdir()} for record in records)
        return as_kedro, as_compiled

    return both


@hypothesis.settings(
    max_examples=int(os.environ.get("EXAMPLES", "12")), deadline=None, derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate],
)  # fmt: skip
@given(graph=graphs())
def test_compiled_and_executed_it_gives_what_kedro_run_gives(both, graph):
    as_kedro, as_compiled = both(graph)
    assert len(as_kedro) == len(graph.nodes)
    assert as_compiled == as_kedro
