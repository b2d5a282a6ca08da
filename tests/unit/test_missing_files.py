"""A raw file that is not there ends a run on this machine before it starts, if it would end `kedro run` as well."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from kedro.pipeline import Node, Pipeline
from kedro_datasets.json import JSONDataset

from vertexai_mlflow.checks.data import refuse_missing_files
from vertexai_mlflow.compile.plan import Surroundings, make_plan
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig, UploadedData

CSV = {"type": "pandas.CSVDataset", "filepath": "data/raw.csv"}


class Forgiving(JSONDataset):
    """Loads something also when there is no file, as a class of the project's own may do."""

    def load(self):
        return super().load() if self.exists() else {}


def same(*inputs):
    return inputs


READ = Node(same, "raw", "read", name="read")


def given(folder: Path, config: dict, nodes: Sequence[Node], has_hooks=False, uploaded=None, root=None):
    """A project in this folder with this catalog, and the plan of a pipeline with these nodes."""
    pipeline = Pipeline(nodes)
    project = SimpleNamespace(
        path=folder, has_hooks=has_hooks, config={"catalog": config}.__getitem__, pipeline=lambda *_part: pipeline
    )
    surroundings = Surroundings(uploaded=uploaded or {})
    plan = make_plan("p", pipeline, RunConfig(image="x", root=root), Catalog(config, "catalog.yml").entry, surroundings)
    return project, plan


def look(folder: Path, *nodes: Node, has_hooks=False, uploaded=None, root=None, **catalog) -> list[str]:
    """The warnings about the project."""
    config = {"raw": CSV, **catalog}
    return refuse_missing_files(*given(folder, config, nodes or [READ], has_hooks, uploaded, root))


@pytest.mark.parametrize("entry", [CSV, {"type": "kedro_datasets.json.JSONDataset", "filepath": "file://data/raw.csv"}])
def test_the_file_of_the_first_node_must_be_there(tmp_path, entry):
    with pytest.raises(
        UserError, match=r"^Dataset 'raw' \(input of step 'read'\): there is no file .*data/raw.csv\.\n"
    ):
        look(tmp_path, raw=entry)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw.csv").write_text("a\n")
    assert look(tmp_path, raw=entry) == []


def test_all_missing_files_are_named_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        look(tmp_path, READ, Node(same, "other", "x", name="take"), other={**CSV, "filepath": "data/other.csv"})
    assert "data/raw.csv" in str(error.value)
    assert "data/other.csv" in str(error.value)


def test_a_file_that_a_node_or_a_hook_may_have_made_by_then_is_a_warning(tmp_path):
    warning = "Dataset 'raw' (input of step 'read'): there is no file data/raw.csv. It must be made before by a node or a hook."
    assert look(tmp_path, Node(same, "params:a", "done", name="a_download"), READ) == [warning]
    assert look(tmp_path, has_hooks=True) == [warning]


@pytest.mark.parametrize(
    "entry",
    [
        {**CSV, "versioned": True},
        {**CSV, "filepath": "gs://bucket/raw.csv"},
        {**CSV, "filepath": "data/*.csv"},
        {**CSV, "fs_args": {"open_args_load": {"mode": "a+"}}},
        {"type": "partitions.IncrementalDataset", "path": "data/raw", "dataset": "pandas.CSVDataset"},
        {"type": "spark.SparkDataset", "filepath": "data/raw"},
        {"type": "CachedDataset", "dataset": CSV},
        {"type": "test_missing_files.Forgiving", "filepath": "data/raw.csv"},
        {"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": "db"},
    ],
)
def test_what_may_be_loaded_although_there_is_no_such_file_is_left_alone(tmp_path, entry):
    assert look(tmp_path, raw=entry) == []


def test_a_pipeline_without_nodes_misses_nothing(tmp_path):
    project, plan = given(tmp_path, {"raw": CSV}, [])
    assert refuse_missing_files(project, plan) == []


def test_a_file_that_a_node_makes_is_not_looked_for(tmp_path):
    nodes = [Node(same, "params:a", "made", name="make"), READ]
    assert look(tmp_path, *nodes, made=CSV) == []


def test_a_file_that_was_uploaded_is_fetched_from_there(tmp_path):
    uploaded = {"data/raw.csv": UploadedData(uri="gs://b/x", sha256="0" * 64, bytes=1, files=1)}
    assert look(tmp_path, root="gs://bucket/root", uploaded=uploaded) == []
