"""``kedro run`` runs the pipelines that ``catalogs`` makes up, and their files are where the catalog says."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from catalogs import SOURCE, Case, cases
from hypothesis import HealthCheck, given
from running import environment
from starter.vertexai.local.preloaded import Preloaded
from test_runs import kedro

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(baked, tmp_path_factory) -> Path:
    """A project whose pipeline and catalog are drawn."""
    folder = tmp_path_factory.mktemp("catalogs") / "test-project"
    project = shutil.copytree(baked(project_name="Test Project", example="no"), folder)
    package = project / "src/test_project/pipelines/under_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    return project


@pytest.fixture(scope="module")
def preloaded(project) -> Iterator[Preloaded]:
    memory = project.parent / "preloaded.json"
    learning = Preloaded(project, memory, environment())
    kedro(learning, project, environment(), "run", "--help")
    learning.close()
    preloaded = Preloaded(project, memory, environment())
    assert preloaded.why_not == ""
    yield preloaded
    preloaded.close()


@pytest.fixture(scope="module")
def kedro_run(project, preloaded) -> Callable[[Case], dict[str, str]]:
    """Run a case with ``kedro run``; returns what each node recorded."""

    def kedro_run(case: Case) -> dict[str, str]:
        record, elsewhere = project.parent / "record", project.parent / "elsewhere"
        for folder in (record, elsewhere, project / "data"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        case.write(project, elsewhere)
        code, printed = kedro(preloaded, project, environment(RECORD=str(record)), "run")
        assert code == 0, printed
        return {path.name: path.read_text() for path in record.iterdir()}

    return kedro_run


@hypothesis.settings(
    max_examples=int(os.environ.get("EXAMPLES", "6")), deadline=None, derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate],
)  # fmt: skip
@given(case=cases())
def test_kedro_run_runs_every_drawn_pipeline(project, kedro_run, case):
    recorded = kedro_run(case)
    assert recorded.keys() == {node["name"] for node in case.nodes}
    for node in case.nodes:
        for name, _form in node["outputs"]:
            if case.kinds[name] == "file":
                assert (project / case.catalog[name]["filepath"]).is_file()
    assert kedro_run(case) == recorded


@pytest.mark.parametrize(
    "kind",
    [
        "absolute", "cached", "factory", "figures", "file", "mlflow", "none", "partitioned", "read", "templated",
        "transcoded", "versioned",
    ],
)  # fmt: skip
def test_every_kind_of_entry_is_drawn(kind):
    quick = hypothesis.settings(max_examples=500, database=None, derandomize=True, phases=[hypothesis.Phase.generate])
    hypothesis.find(cases(), lambda case: kind in case.kinds.values(), settings=quick)
