"""What a dataset is, by its class and its entry, decides how it gets from step to step."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.compile.plan import make_plan
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig

RAW = {"type": "pandas.CSVDataset", "filepath": "gs://bucket/raw.csv"}


def same(*inputs):
    return inputs


def planned(*nodes: Node, root: str | None = "gs://bucket/root", uploaded=None, **catalog):
    entries = Catalog({"raw": RAW, **catalog}, "catalog.yml").entry
    return make_plan("p", Pipeline(nodes), RunConfig(image="x", root=root), entries)


MAKE = Node(same, "raw", "x", name="make")
TAKE = Node(same, "x", "end", name="take")


@pytest.fixture(autouse=True)
def own_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module ``own``, with classes as people write them."""
    (tmp_path / "own.py").write_text(
        dedent("""
        from pathlib import Path

        from kedro.io import AbstractDataset, MemoryDataset
        from kedro_datasets.json import JSONDataset
        from kedro_datasets.partitions import PartitionedDataset

        raise_when_made = True

        class _Own(AbstractDataset):
            def _load(self): ...
            def _save(self, data): ...
            def _describe(self): return {}

        class Remembered(MemoryDataset): ...
        class Checked(JSONDataset): ...
        class Days(PartitionedDataset): ...

        class Images(_Own):
            def __init__(self, folder, size=10):
                raise AssertionError("no dataset is made to look at it")

        class Report(_Own):
            def __init__(self, title, report_path=Path("data/08_reporting/report.html")): ...

        class Frames(_Own):
            def __init__(self, name): ...

        class Suffixed(_Own):
            def __init__(self, table, filename_suffix=".csv"): ...
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("own", None)


@pytest.mark.parametrize(
    ("entry", "storage", "place"),
    [
        ({"type": "own.Remembered"}, "memory", None),
        ({"type": "own.Checked", "filepath": "data/x.json"}, "disk", "data/x.json"),
        ({"type": "own.Days", "path": "data/days", "dataset": "json.JSONDataset"}, "disk", "data/days"),
        ({"type": "own.Images", "folder": "data/images"}, "disk", "data/images"),
        ({"type": "own.Images", "folder": "gs://bucket/images"}, "remote", None),
        ({"type": "own.Report", "title": "x"}, "disk", "data/08_reporting/report.html"),
        ({"type": "own.Frames", "name": "x"}, "elsewhere", None),
        ({"type": "own.Suffixed", "table": "x"}, "elsewhere", None),
        ({"type": "MemoryDataset"}, "memory", None),
        ({"type": "kedro.io.MemoryDataset"}, "memory", None),
        ({"type": "CachedDataset", "dataset": {"type": "MemoryDataset"}}, "memory", None),
        ({"type": "CachedDataset", "dataset": {"type": "json.JSONDataset", "filepath": "data/x.json"}}, "disk", "data/x.json"),
        ({"type": "json.JSONDataset", "filepath": "memory://x.json"}, "process", None),
        ({"type": "partitions.PartitionedDataset", "path": "memory://x", "dataset": "json.JSONDataset"}, "process", None),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite://"}}, "process", None),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite:///:memory:"}}, "process", None),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "duckdb+x:///:memory:"}}, "process", None),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite:///file:a?mode=memory"}}, "process", None),
        ({"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "duckdb"}}, "process", None),
        ({"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "polars"}}, "process", None),
        ({"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "duckdb", "database": "x.db"}}, "database", None),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "postgresql://host/db"}}, "elsewhere", None),
        ({"type": "kedro_mlflow.io.models.MlflowModelTrackingDataset", "flavor": "mlflow.sklearn"}, "model", None),
    ],
)  # fmt: skip
def test_the_class_and_the_entry_say_where_a_dataset_is_kept(entry, storage, place):
    description = Catalog({"x": entry}, "catalog.yml").entry("x")
    assert (description.storage, list(description.places)) == (storage, [place] if place else [])


def test_a_model_of_a_class_that_inherits_from_kedro_mlflows_is_a_model(tmp_path):
    (tmp_path / "own_models.py").write_text(
        "from kedro_mlflow.io.models import MlflowModelTrackingDataset\nclass Ours(MlflowModelTrackingDataset): ...\n"
    )
    assert Catalog({"x": {"type": "own_models.Ours"}}, "catalog.yml").entry("x").storage == "model"


def test_a_class_that_cannot_be_imported_is_known_by_its_name_and_that_is_said():
    plan = planned(MAKE, TAKE, x={"type": "not_here.MyMemoryDataset", "filepath": "data/x.csv"})
    assert plan.artifacts["x"].travels == "files"
    (warning,) = plan.warnings
    assert "not_here.MyMemoryDataset cannot be imported here" in warning


@pytest.mark.parametrize("root", [None, "gs://bucket/root"])
@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ({"type": "json.JSONDataset", "filepath": "memory://x.json"}, "memory://x.json"),
        ({"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "duckdb", "database": ":memory:"}}, ":memory:"),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite://"}}, "sqlite://"),
    ],
)  # fmt: skip
def test_what_only_one_process_has_cannot_cross_steps_on_this_machine_either(entry, shown, root):
    with pytest.raises(
        UserError, match=r"is made in step 'make' and taken in step 'take', but it is kept in the memory"
    ) as error:
        planned(MAKE, TAKE, root=root, x=entry)
    assert f"({shown})" in str(error.value)
    together = Node(same, "x", "end", name="take")
    grouped = RunConfig(image="x", root=root, grouping={"cls": "ChainNodeGrouper"})
    plan = make_plan("p", Pipeline([MAKE, together]), grouped, Catalog({"raw": RAW, "x": entry}, "catalog.yml").entry)
    assert len(plan.steps) == 1


def test_a_class_of_ones_own_without_a_place_is_a_warning():
    (warning,) = planned(MAKE, TAKE, x={"type": "own.Frames", "name": "x"}).warnings
    assert "its entry names no place. own.Frames must keep it where every container finds it" in warning


def test_a_value_in_the_catalog_is_there_in_every_step():
    plan = planned(Node(same, ["raw", "limits"], "y", name="use"), limits={"type": "MemoryDataset", "data": {"low": 1}})
    assert plan.steps[0].inputs == ("raw", "limits")
    with pytest.raises(UserError, match=r"'limits' .* is made by no node"):
        planned(Node(same, ["raw", "limits"], "y", name="use"), limits={"type": "MemoryDataset"})


def test_data_that_is_not_copied_between_nodes_is_a_warning():
    assert "copy_mode: assign" in planned(MAKE, TAKE, x={"type": "MemoryDataset", "copy_mode": "assign"}).warnings[0]
    assert planned(MAKE, TAKE, x={"type": "MemoryDataset", "copy_mode": "copy"}).warnings == ()


SEEN = {"type": "json.JSONDataset", "filepath": "data/01_raw/seen.json"}


def test_what_a_step_reads_and_then_overwrites_is_raw_data():
    plan = planned(
        Node(same, ["raw", "seen_before"], "seen", name="add"), Node(same, "seen", "end", name="show"),
        seen_before=SEEN, seen=SEEN,
    )  # fmt: skip
    assert [(raw.place, raw.steps) for raw in plan.raw] == [("data/01_raw/seen.json", ("add",))]
    assert plan.artifact_inputs == {"add": (), "show": ("seen",)}
    assert "reads dataset 'seen_before' at data/01_raw/seen.json, and then writes 'seen' there" in plan.warnings[0]


@pytest.mark.parametrize("reader", ["a_read", "z_read"])
def test_nodes_of_one_step_read_what_is_there_before_they_write_and_what_they_have_written_after(reader):
    nodes = [
        Node(same, "raw", "seen", name="m_write", tags="group.one"),
        Node(same, "seen_before", "end", name=reader, tags="group.one"),
    ]
    config = RunConfig(image="x", root="gs://b/r", grouping={"cls": "TagNodeGrouper"})
    catalog = Catalog({"raw": RAW, "seen": SEEN, "seen_before": SEEN}, "catalog.yml")
    plan = make_plan("p", Pipeline(nodes), config, catalog.entry)
    assert [node for step in plan.steps for node in step.nodes] == sorted(["m_write", reader])  # as kedro run
    assert bool(plan.raw) == (reader == "a_read")


TABLE = {"type": "pandas.ParquetDataset", "filepath": "data/t.parquet"}


@pytest.mark.parametrize(
    ("entry", "root"),
    [
        (TABLE, None),
        (TABLE, "gs://bucket/root"),
        ({**TABLE, "filepath": "gs://bucket/t.parquet"}, "gs://bucket/root"),
        ({"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": "warehouse"}, "gs://bucket/root"),
    ],
)
@pytest.mark.parametrize("names", [("a_make", "z_use"), ("z_make", "a_use")])
def test_two_names_for_one_place_run_in_the_order_of_kedro_run(entry, root, names):
    maker, user = names
    nodes = [Node(same, "raw", "table", name=maker), Node(same, "same_table", "end", name=user)]
    plan = planned(*nodes, root=root, table=entry, same_table=entry)
    kedros = [node.name for node in Pipeline(nodes).nodes]
    assert [step.nodes[0] for step in plan.steps] == kedros
    assert plan.steps[1].after == (plan.steps[0].name,)


def test_two_that_only_read_one_place_run_side_by_side():
    nodes = [Node(same, "table", "x", name="one"), Node(same, "same_table", "y", name="other")]
    assert [step.after for step in planned(*nodes, table=TABLE, same_table=TABLE).steps] == [(), ()]


VERSIONED = {**TABLE, "versioned": True}


@pytest.mark.parametrize("path", ["data/t.parquet", "gs://bucket/t.parquet"])
@pytest.mark.parametrize("user", ["table", "same_table"])
def test_a_versioned_dataset_is_loaded_in_the_version_that_the_job_has_saved(path, user):
    entry = {**VERSIONED, "filepath": path}
    nodes = [Node(same, "raw", "table", name="make"), Node(same, user, "end", name="use")]
    plan = planned(*nodes, table=entry, same_table=entry)
    assert plan.artifacts["table"].travels == ("version" if path.startswith("gs:") else "files")
    assert plan.versions["use"] == {user: "table"}
    assert plan.artifact_inputs["use"] == ("table",)


def test_a_versioned_dataset_that_no_step_makes_is_loaded_in_its_latest_version():
    plan = planned(Node(same, "table", "end", name="use"), table={**VERSIONED, "filepath": "gs://bucket/t.parquet"})
    assert (plan.versions, plan.artifacts) == ({"use": {}}, {})


def test_a_version_is_not_that_of_a_folder_around_it():
    report = {**VERSIONED, "filepath": "gs://bucket/out/x.parquet"}
    folder = {"type": "partitions.PartitionedDataset", "path": "gs://bucket/out", "dataset": "json.JSONDataset"}
    nodes = [
        Node(same, "raw", "report", name="make"), Node(same, ["raw", "report"], "everything", name="spread"),
        Node(same, ["report", "everything"], "end", name="use"),
    ]  # fmt: skip
    assert planned(*nodes, report=report, everything=folder).versions["use"] == {"report": "report"}


def test_a_file_beside_what_a_step_has_made_is_raw_data():
    labelled = {**TABLE, "metadata": {"vertexai": {"paths": ["data/01_raw/labels.csv"]}}}
    nodes = [Node(same, "raw", "table", name="make"), Node(same, ["labelled", "table"], "end", name="use")]
    plan = planned(*nodes, table=TABLE, labelled=labelled)
    assert [raw.place for raw in plan.raw] == ["data/01_raw/labels.csv"]


def test_two_ways_to_read_a_table_in_a_file_are_one_table():
    table = {"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "sqlite:///data/t.db"}}
    nodes = [Node(same, "raw", "table@pandas", name="make"), Node(same, "table@spark", "end", name="use")]
    with pytest.raises(UserError, match="is a file on the disk of one container"):
        planned(*nodes, **{"table@pandas": table, "table@spark": table})


def test_tables_of_two_names_are_two_tables():
    table = {"type": "pandas.SQLTableDataset", "credentials": "warehouse"}
    nodes = [Node(same, "raw", "one", name="make"), Node(same, "other", "end", name="use")]
    plan = planned(*nodes, one={**table, "table_name": "a"}, other={**table, "table_name": "b"})
    assert [step.after for step in plan.steps] == [(), ()]
