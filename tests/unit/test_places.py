"""What a path of the catalog refers to: a file, a folder, a pattern, a link."""

from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from kedro.io import DatasetError
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.checks.data import find_sources, to_upload
from vertexai_mlflow.cloud.upload import LocalData, missing, upload
from vertexai_mlflow.compile.place_index import PlaceIndex
from vertexai_mlflow.compile.plan import Surroundings, make_plan
from vertexai_mlflow.contract.arguments import StepArguments
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.contract.places import base_of, files_at, overlap, sha256_of
from vertexai_mlflow.settings.models import RunConfig
from vertexai_mlflow.step.carry import Carrier
from vertexai_mlflow.step.io import StepIO


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two tables that a pattern matches and two files that it does not."""
    for name in ("north.csv", "south.csv", "notes.txt", "old/east.csv"):
        file = tmp_path / "project/data/01_raw/sales" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("data/01_raw/sales/*.csv", ["north.csv", "south.csv"]),
        ("data/01_raw/sales/[ns]*.csv", ["north.csv", "south.csv"]),
        ("data/01_raw/sales/n?rth.csv", ["north.csv"]),
        ("data/01_raw/sales/**/*.csv", ["north.csv", "old/east.csv", "south.csv"]),
        ("data/01_raw/*/old", ["old/east.csv"]),
        ("data/01_raw/sales", ["north.csv", "notes.txt", "old/east.csv", "south.csv"]),
        ("data/01_raw/sales/north.csv", ["north.csv"]),
        ("data/01_raw/sales/*.parquet", []),
        ("data/nothing", []),
    ],
)
def test_a_place_is_a_file_a_folder_or_all_that_match_a_pattern(project, place, names):
    folder = Path("data/01_raw/sales")
    assert [path.relative_to(folder).as_posix() for path in files_at(place)] == names
    assert bool(sha256_of(place)) == bool(names)


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(project):
    name = "data/01_raw/sales/report[1].csv"
    Path(name).write_text("1")
    Path("data/01_raw/sales/report1.csv").write_text("2")
    assert files_at(name) == [Path(name)] == [base_of(name)]
    assert sha256_of(name) == sha256_of(project / name)


def test_a_folder_around_the_project_may_look_like_a_pattern(tmp_path):
    folder = tmp_path / "team [a]"
    (folder / "data").mkdir(parents=True)
    (folder / "data/x.csv").write_text("1")
    assert files_at(folder / "data/*.csv") == [folder / "data/x.csv"]
    assert base_of(folder / "data/*.csv") == folder / "data"
    assert files_at(folder / "data/missing.csv") == []


def test_links_to_files_and_folders_are_followed_and_a_circle_is_left(project, tmp_path):
    disk = tmp_path / "other disk"
    (disk / "big").mkdir(parents=True)
    (disk / "big/part.csv").write_text("part")
    (disk / "one.csv").write_text("one")
    raw = project / "data/01_raw"
    (raw / "linked").mkdir()
    (raw / "linked/one.csv").symlink_to(disk / "one.csv")
    (raw / "linked/big").symlink_to(disk / "big")
    (raw / "linked/again").symlink_to(raw / "linked")
    assert [path.relative_to(raw / "linked").as_posix() for path in files_at(raw / "linked")] == [
        "big/part.csv",
        "one.csv",
    ]
    before = sha256_of(raw / "linked")
    (disk / "big/part.csv").write_text("changed")
    assert sha256_of(raw / "linked") != before


@pytest.mark.parametrize(
    ("first", "second", "is_shared"),
    [
        ("data/x.csv", "data/x.csv", True),
        ("data", "data/x.csv", True),
        ("data/x.csv", "data/y.csv", False),
        ("data/sales/*.csv", "data/sales/a.csv", True),
        ("data/sales/*.csv", "data/sales/a.json", False),
        ("data/sales/*.csv", "data/sales", True),
        ("data/sales/*.parquet", "data/sales/a.parquet/part-0", True),
        ("data/*/a.csv", "data/sales/*.csv", True),
        ("data/**/a.csv", "data/deep/er/b.csv", True),
        ("data/sales/*.csv", "data/costs/*.csv", False),
        ("gs://bucket/x.csv", "gs://bucket/x.csv", True),
        ("gs://bucket/x.csv", "data/x.csv", False),
    ],
)
def test_two_places_share_files_if_one_is_around_the_other_or_a_pattern_matches(first, second, is_shared):
    assert overlap(first, second) == overlap(second, first) == is_shared
    for place, other in ((first, second), (second, first)):
        index = PlaceIndex()
        index.add(place, "dataset")
        assert ("dataset" in index.find(other)) == is_shared


def same(*inputs):
    return inputs


PATTERN = {"sales": {"type": "dask.CSVDataset", "filepath": "data/01_raw/sales/*.csv"}}


def planned(*nodes: Node, catalog: dict, uploaded=None):
    entries = Catalog(catalog, "catalog.yml").entry
    config = RunConfig(image="x", root="gs://bucket/root")
    return make_plan("p", Pipeline(nodes), config, entries, Surroundings(uploaded=uploaded or {}))


def test_a_pattern_is_uploaded_fetched_and_compared_by_its_files(project, tmp_path, monkeypatch):
    plan = planned(Node(same, "sales", "x", name="read"), catalog=PATTERN)
    place = "data/01_raw/sales/*.csv"
    there = SimpleNamespace(path=project, env="cloud")
    assert find_sources(there, plan).available == [f"{place}: in the image"]
    (data,) = to_upload(there, plan, ["sales"]).values()
    uploaded, count = upload(data, f"memory://patterns{tmp_path}", lambda _bytes: None)
    assert (count, uploaded.files) == (2, 2)
    assert LocalData(project / place).is_what(uploaded)
    disk = tmp_path / "disk"
    (disk / "data/01_raw/sales").mkdir(parents=True)
    (disk / "data/01_raw/sales/of the image.csv").write_text("old")
    (disk / "data/01_raw/sales/notes.txt").write_text("stays")
    monkeypatch.chdir(disk)
    artifact = {"uri": uploaded.uri, "metadata": {"sha256": uploaded.sha256}}
    io = StepIO({"inputs": {"artifacts": {"raw": {"artifacts": [artifact]}}}})
    Carrier(StepArguments("step", "p", raw={place: "raw"}), Catalog({}, "catalog.yml"), io).fetch()
    names = [path.relative_to(disk / "data/01_raw/sales").as_posix() for path in files_at(disk / "data/01_raw/sales")]
    assert names == ["north.csv", "notes.txt", "south.csv"]


def test_what_a_step_writes_by_a_pattern_gets_to_the_step_that_reads_it(tmp_path, monkeypatch):
    plan = planned(
        Node(same, "raw", "parts", name="make"), Node(same, "one", "x", name="take"),
        catalog={
            "raw": {"type": "json.JSONDataset", "filepath": "gs://bucket/raw.json"},
            "parts": {"type": "dask.CSVDataset", "filepath": "data/parts/part-*.csv"},
            "one": {"type": "pandas.CSVDataset", "filepath": "data/parts/part-1.csv"},
        },
    )  # fmt: skip
    # The nodes are ordered as kedro run orders them, although no dataset connects them.
    assert plan.artifact_inputs["take"] == ("parts",)
    assert plan.steps[1].after == ("make",)
    catalog = Catalog({"parts": {"type": "dask.CSVDataset", "filepath": "data/parts/part-*.csv"}}, "catalog.yml")
    arguments = StepArguments("step", "p", files={"parts": "parts"})
    for name in ("maker", "taker"):
        (tmp_path / name / "data/parts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "maker")
    for number in range(3):
        Path(f"data/parts/part-{number}.csv").write_text(str(number))
    outputs = {"parts": {"artifacts": [{"uri": f"memory://carried{tmp_path}"}]}}
    put = Carrier(arguments, catalog, StepIO({"outputs": {"artifacts": outputs}})).put(lambda _name: False, "")
    monkeypatch.chdir(tmp_path / "taker")
    Path("data/parts/part-9.csv").write_text("of the image")
    Carrier(arguments, catalog, StepIO({"inputs": {"artifacts": {"parts": {"artifacts": [put["parts"]]}}}})).fetch()
    assert [path.name for path in files_at("data/parts")] == ["part-0.csv", "part-1.csv", "part-2.csv"]


@pytest.mark.parametrize("linked", ["data/01_raw/sales/north.csv", "data/01_raw/sales", "data"])
def test_doctor_says_that_the_image_gets_a_link_without_its_target(project, tmp_path, linked):
    target = tmp_path / "other disk"
    (project / linked).rename(target)
    (project / linked).symlink_to(target)
    catalog = {"sales": {"type": "pandas.CSVDataset", "filepath": "data/01_raw/sales/north.csv"}}
    plan = planned(Node(same, "sales", "x", name="read"), catalog=catalog)
    sources = find_sources(SimpleNamespace(path=project, env="cloud"), plan)
    assert sources.available == []
    assert f"{linked} is a link, and the image gets the link without what it leads to" in sources.problems[0]
    assert "upload-data sales" in sources.problems[0]
    assert to_upload(SimpleNamespace(path=project, env="cloud"), plan, ["sales"]).keys() == {
        "data/01_raw/sales/north.csv"
    }


def test_a_link_inside_of_the_project_is_in_the_image_with_its_target(project):
    (project / "data/01_raw/latest.csv").symlink_to("sales/north.csv")
    catalog = {"sales": {"type": "pandas.CSVDataset", "filepath": "data/01_raw/latest.csv"}}
    plan = planned(Node(same, "sales", "x", name="read"), catalog=catalog)
    assert find_sources(SimpleNamespace(path=project, env=None), plan).available == [
        "data/01_raw/latest.csv: in the image"
    ]


def test_a_remote_pattern_exists_if_a_file_matches():
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/remote/parts/a.csv", b"1")
    assert missing(["memory://remote/parts/*.csv", "memory://remote/parts/*.json"]) == ["memory://remote/parts/*.json"]


def test_a_folder_that_has_been_replaced_by_a_link_is_fetched_beside_the_target(tmp_path, monkeypatch):
    """A link in the image must not lead what is fetched, or what is cleared before, to another place."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").write_text("1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/parts").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    fsspec.filesystem("memory").pipe_file(f"{tmp_path}/uploaded/parts/new", b"2")
    uri = f"memory://{tmp_path}/uploaded/parts"
    io = StepIO({"inputs": {"artifacts": {"raw": {"artifacts": [{"uri": uri, "metadata": {"sha256": "wrong"}}]}}}})
    with pytest.raises(DatasetError, match="does not match its recorded SHA-256"):
        Carrier(StepArguments("step", "p", raw={"data/parts": "raw"}), Catalog({}, "catalog.yml"), io).fetch()
    assert (tmp_path / "elsewhere/precious").exists()
    assert not (tmp_path / "elsewhere/new").exists()
