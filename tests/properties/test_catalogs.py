"""Whatever the catalog: steps that each have a disk of their own give what ``kedro run`` gives, to the byte."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import hypothesis
import pytest
from catalogs import SOURCE, Case, cases
from examples import examples
from fakes.storage import Storage, cloud_storage
from hypothesis import given
from own_disks import run_on_own_disks
from warm_kedro import WarmKedro, warm_kedro

from vertexai_mlflow.contract.places import literal_part

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
def storage() -> Iterator[Storage]:
    with cloud_storage() as storage:
        yield storage


@pytest.fixture(scope="module")
def kedro(project, storage) -> Iterator[WarmKedro]:
    with warm_kedro(project, **storage.environment) as kedro:
        yield kedro


@pytest.fixture(scope="module")
def kedro_run(project, kedro) -> Callable[[Case], dict[str, str]]:
    """Run a case with ``kedro run``; returns what each node recorded."""

    def kedro_run(case: Case) -> dict[str, str]:
        record, elsewhere = project.parent / "record", project.parent / "elsewhere"
        for folder in (record, elsewhere, project / "data"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        case.write(project, elsewhere)
        code, printed = kedro("run", RECORD=str(record))
        assert code == 0, printed
        return {path.name: path.read_text() for path in record.iterdir()}

    return kedro_run


@examples(2)
@given(case=cases())
def test_kedro_run_runs_every_drawn_pipeline(project, kedro_run, case):
    recorded = kedro_run(case)
    assert recorded.keys() == {node["name"] for node in case.nodes}
    for node in case.nodes:
        for name, _form in node["outputs"]:
            if case.kinds[name] == "file":
                assert (project / case.catalog[name]["filepath"]).is_file()
    assert kedro_run(case) == recorded


@examples(4)
@given(case=cases())
def test_steps_with_disks_of_their_own_give_what_kedro_run_gives(project, kedro, kedro_run, storage, case):
    as_kedro = kedro_run(case)
    elsewhere = project.parent / "elsewhere"
    written = {
        str(path.relative_to(folder)): path.read_bytes()
        for folder in (project, elsewhere) for path in folder.rglob("*")
        if path.is_file() and (folder == elsewhere or path.is_relative_to(project / "data"))
    }  # fmt: skip
    case.write(project, elsewhere)  # kedro run may have overwritten what was there
    run_config = {"image": "x", "root": "gs://bucket/root", "grouping": {"cls": case.grouper}}
    (project / "conf/base/vertexai.yml").write_text(json.dumps({"run_config": run_config}))
    code, printed = kedro("vertexai", "compile")
    hypothesis.assume("wait for each other" not in printed)
    assert code == 0, printed
    spec = json.loads((project / "pipeline.json").read_text())
    record = project.parent / "on-own-disks"
    shutil.rmtree(record, ignore_errors=True)
    record.mkdir()
    storage.objects.clear()
    variables = {"RECORD": str(record), **storage.environment}
    results = run_on_own_disks(
        spec, project, "gs://bucket/root", kedro.preloaded, ["graph.json", *case.files], [elsewhere], **variables
    )
    assert {path.name: path.read_text() for path in record.iterdir()} == as_kedro
    for task in results.values():
        for artifact in task["artifacts"].values():
            place = artifact["metadata"].get("path")
            if not place:
                continue
            at = artifact["uri"].removeprefix("gs://")
            carried = {
                name.removeprefix(at): bytes(content)
                for name, content in storage.objects.items()
                if name.startswith(at)
            }
            place = os.path.relpath(place, elsewhere) if place.startswith(str(elsewhere)) else place
            base = str(literal_part(place))
            expected = {
                name.removeprefix(base): content
                for name, content in written.items()
                if (fnmatchcase(name, place) if base != place else name.startswith(place))
            }
            if "versioned" not in case.kinds.values():
                assert carried == expected


@pytest.mark.parametrize(
    "kind",
    [
        "absolute", "cached", "empty", "factory", "figures", "file", "in the catalog", "mlflow", "none", "one place",
        "partitioned", "pattern", "read", "read and written", "templated", "transcoded", "versioned",
    ],
)  # fmt: skip
def test_every_kind_of_entry_is_drawn(kind):
    quick = hypothesis.settings(max_examples=500, database=None, derandomize=True, phases=[hypothesis.Phase.generate])
    hypothesis.find(cases(), lambda case: kind in case.kinds.values(), settings=quick)
