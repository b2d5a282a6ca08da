"""Whatever the pipeline and the machines: compiled and executed it gives what ``kedro run`` gives, dataset by dataset."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import yaml
from examples import examples
from graphs import SOURCE, Graph, graphs
from hypothesis import given
from hypothesis import strategies as st
from running import environment
from warm_kedro import WarmKedro, warm_kedro

from vertexai_mlflow.local.scheduler import RunOptions, run_spec

pytestmark = pytest.mark.slow
Machines = dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def project(baked, tmp_path_factory) -> Path:
    """A project whose pipeline is drawn: ``graph.json`` says what its nodes are."""
    project = shutil.copytree(
        baked(project_name="Test Project", example="no"), tmp_path_factory.mktemp("both") / "test-project"
    )
    package = project / "src/test_project/pipelines/under_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    # Values are what is compared here, and MLflow would only cost time.
    settings = project / "src/test_project/settings.py"
    settings.write_text(settings.read_text() + '\nDISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow",)\n')
    (project / "conf/base/parameters.yml").write_text("salt: plain\n")
    (project / "conf/staging").mkdir()
    (project / "conf/staging/parameters.yml").write_text("salt: of staging\n")
    return project


@pytest.fixture(scope="module")
def kedro(project) -> Iterator[WarmKedro]:
    with warm_kedro(project) as kedro:
        yield kedro


@pytest.fixture(scope="module")
def both(project, kedro) -> Callable[[Graph, str, str, Machines], tuple[dict[str, str], dict[str, str]]]:
    """Run a graph with ``kedro run`` and as a compiled spec. Return what each node recorded, both times."""

    def both(graph: Graph, salt: str, env: str, machines: Machines) -> tuple[dict[str, str], dict[str, str]]:
        (project / "graph.json").write_text(json.dumps({"nodes": graph.nodes}))
        (project / "conf/base/catalog.yml").write_text(yaml.safe_dump(graph.catalog))
        run_config = {"image": "x", "grouping": {"cls": graph.grouper}, "resources": machines}
        (project / "conf/base/vertexai.yml").write_text(yaml.safe_dump({"run_config": run_config}))
        records = [project.parent / name for name in ("kedro", "compiled")]
        for record in records:
            shutil.rmtree(record, ignore_errors=True)
            record.mkdir()
        for left in ("data", ".vertexai"):
            shutil.rmtree(project / left, ignore_errors=True)
        given = ("--params", f"salt={salt}")
        code, printed = kedro("vertexai", "compile", *given, KEDRO_ENV=env)
        hypothesis.assume("wait for each other" not in printed and "ask for different values" not in printed)
        assert code == 0, printed
        code, printed = kedro("run", *given, RECORD=str(records[0]), KEDRO_ENV=env)
        assert code == 0, printed
        shutil.rmtree(project / "data", ignore_errors=True)
        spec = json.loads((project / "pipeline.json").read_text())
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(RECORD=str(records[1]), PYTHONPATH=str(project / "src")).items():
                patch.setenv(name, value)
            job = run_spec(spec, RunOptions(project / ".vertexai", project, preloaded=kedro.preloaded))
        logs = "".join(Path(task.log).read_text() for task in job.failed_tasks)
        assert job.state == "SUCCEEDED", logs
        as_kedro, as_compiled = ({path.name: path.read_text() for path in record.iterdir()} for record in records)
        return as_kedro, as_compiled

    return both


@examples(6)
@given(
    graph=graphs(),
    salt=st.sampled_from(["it's $(salt)", "null", "", "1e3", "-0.0", ".inf", "007", "true", "{a: {1: x}}", "[2024-01-31]", "1" * 21]),
    env=st.sampled_from(["", "staging"]),
    machines=st.dictionaries(
        st.sampled_from(["__default__", "*", "*1*", "*[0-3]*", "*[4-9]"]),
        st.sampled_from([{"spot": True}, {"machine_type": "g2-standard-4", "retries": 1}, {"boot_disk": {"size": 200}}, {"cpu": 2}]),
        max_size=3,
    ),
)  # fmt: skip
def test_compiled_and_executed_it_gives_what_kedro_run_gives(both, graph, salt, env, machines):
    as_kedro, as_compiled = both(graph, salt, env, machines)
    assert len(as_kedro) == len(graph.nodes)
    assert as_compiled == as_kedro
