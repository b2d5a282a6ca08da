"""What 50 public catalogs look like: each of their kinds of entries between two steps, as the cloud compiles it.

The kinds and how often they occur were counted in public Kedro projects: local paths 644 of 757 entries, templated paths
64, versioned 44, transcoded 32, factories 61, partitioned or incremental 44, Spark 92, MLflow 19, own classes 25,
databases 16, absolute paths 9, paths with backslashes 8, ``layer:`` at the top level 153.
"""

import pytest
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.compile.plan import make_plan
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.settings.models import RunConfig

RAW = {"type": "pandas.CSVDataset", "filepath": "gs://b/raw.csv"}


def travels(made: str, taken: str, catalog: dict) -> str | None:
    """How a dataset gets from the step that makes it to the step that takes it."""
    nodes = [Node(lambda raw: raw, "raw", made, name="make"), Node(lambda x: x, taken, "end", name="take")]
    lookup = Catalog({"raw": RAW, **catalog}, "catalog.yml").entry
    plan = make_plan("p", Pipeline(nodes), RunConfig(image="x", root="gs://bucket/root"), lookup)
    assert plan.artifact_inputs["take"] == tuple(name for name in [made] if name in plan.artifacts)
    return plan.artifacts[made].travels if made in plan.artifacts else None


def entry(type_: str, path: str = "data/02_intermediate/x", **more: object) -> dict:
    return {"x": {"type": type_, "filepath": path, **more}}


@pytest.mark.parametrize(
    ("kind", "catalog"),
    [
        ("CSV", entry("pandas.CSVDataset", save_args={"index": False})),
        ("Parquet", entry("pandas.ParquetDataset")),
        ("Excel", entry("pandas.ExcelDataset", engine="openpyxl")),
        ("pickle", entry("pickle.PickleDataset", backend="joblib")),
        ("JSON with layer", entry("json.JSONDataset", layer="primary")),
        ("Spark", entry("spark.SparkDataset", file_format="parquet", load_args={"header": True})),
        ("versioned", entry("pickle.PickleDataset", versioned=True)),
        ("cached", {"x": {"type": "CachedDataset", "dataset": {"type": "pandas.CSVDataset", "filepath": "data/x.csv"}}}),
        ("partitioned", {"x": {"type": "partitions.PartitionedDataset", "path": "data/x", "dataset": "pandas.CSVDataset"}}),
        ("incremental", {"x": {"type": "partitions.IncrementalDataset", "path": "data/x", "dataset": "pandas.CSVDataset"}}),
        ("figures", entry("matplotlib.MatplotlibDataset")),
        ("own class", entry("my_project.datasets.OwnDataset")),
        ("MLflow artifact", {"x": {"type": "kedro_mlflow.io.artifacts.MlflowArtifactDataset", "dataset": {"type": "json.JSONDataset", "filepath": "data/x.json"}}}),
        ("MLflow model on disk", {"x": {"type": "kedro_mlflow.io.models.MlflowModelLocalFileSystemDataset", "flavor": "mlflow.sklearn", "filepath": "data/x"}}),
        ("with credentials", entry("pandas.CSVDataset", credentials="mine")),
        ("home folder", entry("pandas.CSVDataset", "~/x.csv")),
    ],
)  # fmt: skip
def test_files_on_local_disk_are_carried(kind, catalog):
    assert travels("x", "x", catalog) == "files", kind


def test_a_transcoded_dataset_is_carried():
    catalog = {"x@pandas": entry("pandas.ParquetDataset")["x"], "x@spark": entry("spark.SparkDataset")["x"]}
    assert travels("x@pandas", "x@spark", catalog) == "files"


def test_a_dataset_of_a_factory_is_carried():
    catalog = {"{namespace}.{name}": {"type": "pandas.CSVDataset", "filepath": "data/{namespace}/{name}.csv"}}
    assert travels("train.x", "train.x", catalog) == "files"


@pytest.mark.parametrize(
    ("kind", "catalog", "how"),
    [
        ("remote", entry("pandas.CSVDataset", "gs://b/x.csv"), None),
        ("not in the catalog", {}, "pickle"),
        ("in memory", {"x": {"type": "MemoryDataset"}}, "pickle"),
        ("MLflow model", {"x": {"type": "kedro_mlflow.io.models.MlflowModelTrackingDataset", "flavor": "mlflow.sklearn"}}, "model"),
        ("a table of a server", {"x": {"type": "pandas.SQLTableDataset", "table_name": "t", "credentials": {"con": "postgresql://h/d"}}}, None),
    ],
)  # fmt: skip
def test_what_has_no_files_on_local_disk_goes_its_own_way(kind, catalog, how):
    assert travels("x", "x", catalog) == how, kind


@pytest.mark.parametrize(
    ("kind", "catalog", "sentence"),
    [
        ("DuckDB", {"x": {"type": "ibis.TableDataset", "table_name": "t", "connection": {"backend": "duckdb", "database": "x.duckdb"}}}, "x.duckdb is a file on the disk of one container"),
        ("absolute", entry("pandas.CSVDataset", "/home/me/x.csv"), "a step can write only below data/ and /tmp"),
        ("backslashes", entry("pandas.CSVDataset", "..\\x.csv"), "a step can write only below data/ and /tmp"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_cure(kind, catalog, sentence):
    with pytest.raises(UserError) as error:
        travels("x", "x", catalog)
    assert sentence in str(error.value), kind


def no_code(*_data):
    """What the nodes do is not looked at."""


SPACEFLIGHTS = Pipeline(
    [
        Node(no_code, "companies", "preprocessed_companies", name="preprocess_companies"),
        Node(no_code, "shuttles", "preprocessed_shuttles", name="preprocess_shuttles"),
        Node(no_code, ["preprocessed_shuttles", "preprocessed_companies", "reviews"], "table", name="join"),
        Node(no_code, ["table", "params:options"], ["x_train", "x_test", "y_train", "y_test"], name="split"),
        Node(no_code, ["x_train", "y_train"], "regressor", name="train"),
        Node(no_code, ["regressor", "x_test", "y_test"], None, name="evaluate"),
        Node(no_code, "preprocessed_shuttles", "capacity_plot", name="plot_capacity"),
        Node(no_code, "companies", "confusion_matrix", name="plot_confusion"),
    ]
)
PANDAS = {
    "companies": {"type": "pandas.CSVDataset", "filepath": "data/01_raw/companies.csv"},
    "reviews": {"type": "pandas.CSVDataset", "filepath": "data/01_raw/reviews.csv"},
    "shuttles": {"type": "pandas.ExcelDataset", "filepath": "data/01_raw/shuttles.xlsx", "load_args": {"engine": "openpyxl"}},
    "preprocessed_companies": {"type": "pandas.ParquetDataset", "filepath": "data/02_intermediate/companies.parquet"},
    "preprocessed_shuttles": {"type": "pandas.ParquetDataset", "filepath": "data/02_intermediate/shuttles.parquet"},
    "table": {"type": "pandas.ParquetDataset", "filepath": "data/03_primary/table.parquet"},
    "regressor": {"type": "pickle.PickleDataset", "filepath": "data/06_models/regressor.pickle", "versioned": True},
    "capacity_plot": {"type": "plotly.JSONDataset", "filepath": "data/08_reporting/capacity.json", "versioned": True},
    "confusion_matrix": {"type": "matplotlib.MatplotlibDataset", "filepath": "data/08_reporting/confusion.png", "versioned": True},
}  # fmt: skip
SPARK = {
    **PANDAS,
    "companies": {"type": "spark.SparkDataset", "filepath": "data/01_raw/companies.csv", "file_format": "csv", "load_args": {"header": True}},
    "preprocessed_companies": {"type": "spark.SparkDataset", "filepath": "data/02_intermediate/companies.parquet"},
    "preprocessed_shuttles": {"type": "spark.SparkDataset", "filepath": "data/02_intermediate/shuttles.parquet"},
    "table": {"type": "spark.SparkDataset", "filepath": "data/03_primary/table.parquet"},
}  # fmt: skip


@pytest.mark.parametrize("catalog", [PANDAS, SPARK], ids=["pandas", "pyspark"])
def test_the_shape_of_spaceflights_is_accepted_for_the_cloud_with_no_edit(catalog):
    lookup = Catalog(catalog, "catalog.yml").entry
    plan = make_plan("p", SPACEFLIGHTS, RunConfig(image="x", root="gs://bucket/root"), lookup)
    carried = {name for name, artifact in plan.artifacts.items() if artifact.travels == "files"}
    assert carried == {
        "preprocessed_companies", "preprocessed_shuttles", "table", "regressor", "capacity_plot", "confusion_matrix",
    }  # fmt: skip
    assert set(plan.artifact_inputs["join"]) == {"preprocessed_shuttles", "preprocessed_companies"}
    assert set(plan.artifact_inputs["evaluate"]) == {"regressor", "x_test", "y_test"}
    assert {raw.place for raw in plan.raw} == {
        catalog[name]["filepath"] for name in ("companies", "reviews", "shuttles")
    }
    assert plan.warnings == ()
