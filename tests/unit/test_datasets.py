"""doctor's look at the datasets that a pipeline uses, without making one."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kedro.io import AbstractDataset

from vertexai_mlflow.checks.datasets import Datasets, refuse_impossible
from vertexai_mlflow.errors import UserError


class Loose(AbstractDataset):
    """Takes whatever it is given."""

    def __init__(self, table: str, **options: Any) -> None:
        raise AssertionError("no dataset is made")

    def load(self) -> None: ...
    def save(self, data: Any) -> None: ...
    def _describe(self) -> dict[str, Any]: ...


def used(text: str, *names: str) -> tuple[SimpleNamespace, SimpleNamespace]:
    """A project with this catalog, and a plan that uses these datasets of it, or all."""
    catalog = yaml.safe_load(text)
    project = SimpleNamespace(config={"catalog": catalog}.__getitem__, source=Path(__file__).parents[1])
    step = SimpleNamespace(inputs=names or tuple(catalog), outputs=())
    return project, SimpleNamespace(steps=(step,), on_exit=None)


def look(text: str, *names: str) -> Datasets:
    """What is found in a catalog of which a pipeline uses these datasets, or all of them."""
    return Datasets(*used(text, *names))


@pytest.mark.parametrize(
    "entry",
    [
        "{type: pandas.CSVDataset, filepath: a.csv, versioned: true, credentials: mine, metadata: {x: 1}, load_args: {sep: x}}",
        "{type: kedro_datasets.pandas.CSVDataset, filepath: a.csv}",
        "{type: CachedDataset, versioned: true, dataset: {type: json.JSONDataset, filepath: a.json}}",
        "{type: MemoryDataset}",
        "{type: kedro.io.MemoryDataset, copy_mode: assign}",
        "{type: partitions.PartitionedDataset, path: a, dataset: pandas.CSVDataset}",
        "{type: partitions.PartitionedDataset, path: a, dataset: {type: pandas.CSVDataset, save_args: {index: false}}}",
        "{type: partitions.IncrementalDataset, path: a, checkpoint: x, dataset: {type: test_datasets.Loose}, filepath_arg: table}",
        "{type: kedro_mlflow.io.artifacts.MlflowArtifactDataset, artifact_path: x, dataset: {type: pickle.PickleDataset, filepath: a.pkl, versioned: true}}",
        "{type: kedro_mlflow.io.models.MlflowModelTrackingDataset, flavor: mlflow.sklearn, save_args: {name: model}}",
        "{type: test_datasets.Loose, table: t, whatever: 1}",
        "{type: json.JSONDataset, filepath: a.json, validator: {class: x}}",
    ],
)
def test_what_kedro_would_make_is_in_order(entry):
    report = look(f"a: {entry}")
    assert report.problems == []
    assert report.check() == "1 in the catalog, with existing classes and valid arguments"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{type: pandas.CSVDatasett, filepath: a.csv}", "a.type: kedro_datasets.pandas has no class 'CSVDatasett'. Did you mean 'CSVDataset'?"),
        ("{type: json.JSONDataSet, filepath: a.json}", "a.type: kedro_datasets.json has no class 'JSONDataSet'. Did you mean 'JSONDataset'?"),
        ("{type: MemoryDatset}", "a.type: kedro.io has no class 'MemoryDatset'. Did you mean 'MemoryDataset'? Other classes are named with their module, as in pandas.CSVDataset."),
        ("{type: panda.CSVDataset, filepath: a.csv}", "nor elsewhere. Did you mean 'pandas'?"),
        ("{type: pathlib.Path}", "a.type: Dataset type 'pathlib.Path' is invalid: all dataset types must extend 'AbstractDataset'."),
        ("{filepath: a.csv}", "a.type is missing: name a class, such as pandas.CSVDataset."),
        ("{type: pandas.CSVDataset, filpath: a.csv}", "a.filpath: CSVDataset has no such argument. Did you mean 'filepath'? catalog.yml: a.filepath is missing: CSVDataset needs it."),
        ("{type: pandas.CSVDataset, filepath: a.csv, layer: raw}", "a.layer: CSVDataset has no such argument. Known: credentials, filepath, fs_args, load_args, metadata, save_args, version."),
        (
            "{type: kedro_mlflow.io.models.MlflowModelTrackingDataset, flavor: mlflow.sklearn, artifact_path: model}",
            "a.artifact_path: MlflowModelTrackingDataset has no such argument. Known: flavor, load_args, metadata, pyfunc_workflow, save_args.",
        ),
        ("{type: partitions.PartitionedDataset, path: a, versioned: true, dataset: json.JSONDataset}", "a.versioned: PartitionedDataset has no such argument."),
        ("{type: partitions.PartitionedDataset, path: a, dataset: {type: pandas.CSVDataset, sep: x}}", "a.dataset.sep: CSVDataset has no such argument."),
        ("{type: partitions.PartitionedDataset, path: a, dataset: pandas.CSVDatset}", "a.dataset.type: kedro_datasets.pandas has no class 'CSVDatset'."),
        ("{type: CachedDataset, dataset: {type: json.JSONDataset}}", "a.dataset.filepath is missing: JSONDataset needs it."),
        ("{type: kedro_mlflow.io.artifacts.MlflowArtifactDataset, artifact: x, dataset: {type: json.JSONDataset, filepath: x}}", "a.artifact: MlflowArtifactDataset has no such argument. Did you mean 'artifact_path'?"),
        ("{type: test_datasets.Loose}", "a.table is missing: Loose needs it."),
    ],
)  # fmt: skip
def test_what_kedro_would_refuse_is_named_with_its_place_and_the_cure(entry, message):
    (wrong,) = [" ".join(look(f"a: {entry}").problems)]
    assert message in wrong
    assert wrong.startswith("catalog.yml: a.")


def test_a_module_that_was_removed_is_not_said_to_be_uninstalled():
    (message,) = look("a: {type: tracking.MetricsDataset, filepath: a.json}").problems
    assert message.startswith("catalog.yml: a.type: there is no module 'tracking', neither in kedro-datasets ")
    assert "which may have removed it" in message


@pytest.mark.parametrize(
    ("type_", "library", "line"),
    [
        ("pandas.DeltaTableDataset", "deltalake", '"kedro-datasets[pandas-deltatabledataset]>='),
        ("kedro_datasets.networkx.GMLDataset", "networkx", '"kedro-datasets[networkx-gmldataset]>='),
        ("ibis.TableDataset", "ibis", '"kedro-datasets[ibis]>='),
        ("test_datasets_of_ours.Own", "no_such_library", '"no-such-library", or whatever the package of this module is called.'),
    ],
)  # fmt: skip
def test_a_library_that_is_not_installed_is_named_with_the_line_to_add(tmp_path, monkeypatch, type_, library, line):
    (tmp_path / "test_datasets_of_ours.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, library, None)  # so that importing it fails, whether it is installed or not
    (message,) = look(f"a: {{type: {type_}}}").problems
    assert message.startswith(f"catalog.yml: a.type: {type_} needs a package that is not installed: {library}. Add to ")
    assert f"pyproject.toml's dependencies: {line}" in message
    assert message.endswith("Then: pip install -e '.[launch]' && make lock")


def test_packages_that_are_missing_are_all_named_and_once_for_all_datasets_of_the_class(monkeypatch):
    for name in ("hdfs", "pyspark", "s3fs"):
        monkeypatch.setitem(sys.modules, name, None)
    entry = "{type: spark.SparkDataset, filepath: data/a.parquet}"
    result = look(
        f"a: {entry}\nb: {entry}\nc: {{type: pandas.CSVDatset, filepath: x}}\nd: {{type: pandas.CSVDatset, filepath: x}}"
    )
    with pytest.raises(UserError) as error:
        result.check()
    message = str(error.value)
    assert message.count("spark.SparkDataset needs packages that are not installed: hdfs, pyspark, s3fs. Add to") == 1
    assert message.startswith("catalog.yml: a.type: spark.SparkDataset needs packages")
    assert '"kedro-datasets[spark]>=' in message
    assert "make lock. Or use spark.SparkDatasetV2, which needs neither hdfs nor s3fs." in message
    # What is misspelt must be corrected everywhere.
    assert "catalog.yml: c.type: kedro_datasets.pandas has no class" in message
    assert "catalog.yml: d.type: kedro_datasets.pandas has no class" in message


def test_a_class_of_ones_own_that_is_broken_is_named_with_its_line(tmp_path, monkeypatch):
    package = tmp_path / "src/broken_datasets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("a = 1\nb = undefined\n")
    monkeypatch.syspath_prepend(package.parent)
    project = SimpleNamespace(config=lambda _: {"a": {"type": "broken_datasets.Own"}}, source=package.parent)
    report = Datasets(project, SimpleNamespace(steps=[SimpleNamespace(inputs=("a",), outputs=())], on_exit=None))
    assert report.problems == [
        "catalog.yml: a.type: src/broken_datasets/__init__.py, line 2: NameError: name 'undefined' is not defined"
    ]


CATALOG = """
"{name}_csv": {type: pandas.CSVDatasett, filepath: "{name}.csv"}
"{default}": {type: json.JSONDataset, filepat: "{default}.json"}
unused: {type: no.Such}
kept: {type: MemoryDataset}
"""


@pytest.mark.parametrize(
    ("entry", "is_certain"),
    [
        ("{type: pandas.CSVDatasett, filepath: a.csv}", True),
        ("{type: pandas.CSVDataset, filpath: a.csv}", True),
        ("{type: partitions.PartitionedDataset, path: a, dataset: pandas.CSVDatset}", True),
        ("{filepath: a.csv}", True),
        ("{type: panda.CSVDataset, filepath: a.csv}", False),
        ("{type: huggingface.HFDataset, dataset_name: x}", False),
    ],
)
def test_an_image_may_have_a_package_that_this_machine_lacks(entry, is_certain, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    project, plan = used(f"a: {entry}")
    with pytest.raises(UserError, match=r"^catalog.yml: a\."):
        refuse_impossible(project, plan, runs_here=True)
    if is_certain:
        with pytest.raises(UserError, match=r"^catalog.yml: a\."):
            refuse_impossible(project, plan)
    else:
        (warning,) = refuse_impossible(project, plan)
        assert warning.startswith("catalog.yml: a.type: ")


def test_what_the_catalog_says_nothing_about_is_no_entry():
    assert look("a: {type: MemoryDataset}", "a", "b").check().startswith("1 in the catalog")


def test_used_entries_only_are_looked_at_a_factory_once_and_all_that_is_wrong_is_said_at_once():
    report = look(CATALOG, "a_csv", "b_csv", "c", "d", "kept")
    with pytest.raises(UserError) as error:
        report.check()
    message = str(error.value)
    assert message.count("catalog.yml: {name}_csv.type: ") == 1
    assert message.count("catalog.yml: {default}.filepat: ") == 1
    assert "unused" not in message
    assert list(report.classes) == ["catalog.yml: {default}", "catalog.yml: kept"]
