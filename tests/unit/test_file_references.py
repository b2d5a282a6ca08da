"""An object that will read a file which only its maker has is refused where it is made, and no other one is."""

from functools import partial
from pathlib import Path

import numpy
import pandas
import pytest
from kedro.io import DatasetError
from kedro_datasets.json import JSONDataset
from kedro_datasets.partitions import PartitionedDataset

from vertexai_mlflow.step.artifact import ArtifactDataset

PLACES = ["data/01_raw/sales.csv", "data/parts", "data/days/*.csv"]


class LazyFrame:
    """As polars, dask and ibis have them: it knows a path, and reads it when it is collected."""

    def __init__(self, path: object) -> None:
        self.path = path

    def collect(self) -> str:
        return Path(str(self.path)).read_text()


class Named:
    """An object that knows where it comes from, and never looks there."""

    def __init__(self, source: str) -> None:
        self.source = source


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    for file in ("data/01_raw/sales.csv", "data/parts/one.json", "data/days/monday.csv"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dataset(project: Path, remote: bool, places: list[str] = PLACES) -> ArtifactDataset:
    return ArtifactDataset(f"memory://lazy{project}/x" if remote else f"{project}/x", places=places)


LAZY = {
    "a lazy frame": lambda: LazyFrame("data/01_raw/sales.csv"),
    "its absolute path": lambda: LazyFrame(str(Path("data/01_raw/sales.csv").resolve())),
    "its path as an object": lambda: LazyFrame(Path("data/01_raw/sales.csv").resolve()),
    "inside of a dictionary": lambda: {"a": [1, LazyFrame("data/01_raw/sales.csv")]},
    "a file of a folder": lambda: LazyFrame("data/parts/one.json"),
    "a file that a pattern matches": lambda: LazyFrame("data/days/monday.csv"),
    "the functions of a partitioned dataset": lambda: PartitionedDataset(path="data/parts", dataset="json.JSONDataset").load(),
    "a dataset's method": lambda: JSONDataset(filepath="data/parts/one.json").load,
    "a partial": lambda: partial(pandas.read_csv, "data/01_raw/sales.csv"),
    "a closure": lambda: (lambda path: lambda: path.read_text())(Path("data/01_raw/sales.csv")),
}  # fmt: skip


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("what", LAZY)
def test_what_reads_a_file_later_is_refused_with_the_file_and_what_to_do(project, what, remote):
    with pytest.raises(DatasetError, match=r"reads data/[\w/.*]+ when it is used, and the step that takes it does not"):
        dataset(project, remote).save(LAZY[what]())
    assert not dataset(project, remote).exists()


@pytest.mark.parametrize("what", LAZY)
def test_on_a_disk_that_steps_share_it_is_handed_on(project, what):
    handed_on = dataset(project, False, [])
    handed_on.save(LAZY[what]())
    assert handed_on.load() is not None


FINE = {
    "a lazy frame of another file": lambda: LazyFrame("gs://bucket/sales.csv"),
    "a lazy frame in memory": lambda: LazyFrame(None),
    "a table": lambda: pandas.read_csv("data/01_raw/sales.csv"),
    "an array that maps a file": lambda: numpy.memmap("data/01_raw/sales.csv", dtype="uint8", mode="r"),
    "a function": lambda: lambda x: x + 1,
    "a large table": lambda: pandas.DataFrame({"a": numpy.arange(300_000)}),
}


@pytest.mark.parametrize("what", FINE)
def test_any_other_object_is_handed_on_as_it_is(project, what, caplog):
    handed_on = dataset(project, True)
    handed_on.save(FINE[what]())
    for file in ("data/01_raw/sales.csv", "data/parts/one.json"):
        (project / file).unlink()
    assert handed_on.load() is not None
    assert caplog.text == ""


def test_a_place_in_a_text_is_only_a_warning(project, caplog):
    dataset(project, True).save(Named("data/01_raw/sales.csv"))
    assert "A Named names data/01_raw/sales.csv, which the step that takes it does not have on its disk" in caplog.text
    assert dataset(project, True).exists()


def test_a_place_that_is_written_in_two_parts_is_seen(project):
    from vertexai_mlflow.step.file_references import FileReferences

    references = FileReferences(PLACES)
    for part in (b"x" * 100, b"data/01_raw/sa", b"les.csv"):
        references.read(part)
    references.look_at(len)
    with pytest.raises(DatasetError, match=r"This table reads data/01_raw/sales\.csv"):
        references.refuse_lazy_objects("table")
