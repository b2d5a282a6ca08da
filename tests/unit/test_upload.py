"""Raw data: copied to the bucket and recorded, planned, compiled to importers, fetched, and what doctor says of it."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
import yaml
from fsspec.implementations.memory import MemoryFile
from kedro.io import DatasetError
from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.checks.data import find_sources, to_upload
from vertexai_mlflow.checks.offline import check_data
from vertexai_mlflow.checks.uploads import check_uploads, refuse_launch_without_data
from vertexai_mlflow.cloud.upload import LocalData, record, require_bucket, upload
from vertexai_mlflow.compile.compiler import compile_plan
from vertexai_mlflow.compile.plan import Plan, Surroundings, make_plan
from vertexai_mlflow.compile.raw import RawData
from vertexai_mlflow.contract.arguments import StepArguments, parse_arguments
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.contract.check import Doubt, check
from vertexai_mlflow.contract.job import PipelineJob, State, TaskRun
from vertexai_mlflow.contract.launch import Launch
from vertexai_mlflow.contract.spec import tasks
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.local.scheduler import RunOptions, run_spec
from vertexai_mlflow.settings.models import RunConfig, UploadedData, parse_settings
from vertexai_mlflow.show import tables
from vertexai_mlflow.show.progress import progress
from vertexai_mlflow.step.carry import Carrier
from vertexai_mlflow.step.io import StepIO

CATALOG = {
    "table": {"type": "pandas.CSVDataset", "filepath": "data/table.csv"},
    "parts": {"type": "partitions.PartitionedDataset", "path": "data/parts", "dataset": "pandas.CSVDataset"},
}
RUN_CONFIG = RunConfig(image="registry/x", root="gs://bucket/root")


def same(*args):
    return args


NODES = Node(same, ["table", "parts"], "x", name="first"), Node(same, ["x", "table"], "y", name="second")


def planned(*nodes: Node, uploaded: dict[str, UploadedData] | None = None, catalog: dict | None = None) -> Plan:
    lookup = Catalog(catalog or CATALOG, "catalog.yml").entry
    return make_plan("p", Pipeline(nodes or NODES), RUN_CONFIG, lookup, Surroundings(uploaded=uploaded or {}))


@pytest.fixture
def root() -> Iterator[str]:
    """A bucket of the test's own."""
    name = f"/bucket-{uuid.uuid4().hex}"
    yield f"memory:/{name}/root"
    fs = fsspec.filesystem("memory")
    if fs.exists(name):
        fs.rm(name, recursive=True)


@pytest.fixture
def project(tmp_path: Path) -> SimpleNamespace:
    """A project's folder with raw data, and what is asked about a project here."""
    (tmp_path / "data/parts/a").mkdir(parents=True)
    (tmp_path / "data/table.csv").write_text("a\n1\n")
    (tmp_path / "data/parts/a/one.csv").write_text("1")
    (tmp_path / "data/parts/two with # and ü.csv").write_text("22")
    return SimpleNamespace(path=tmp_path, env="cloud", warnings=[])


def sent(data: LocalData, root: str) -> tuple[UploadedData, int, list[int]]:
    steps: list[int] = []
    about, count = upload(data, root, steps.append)
    return about, count, steps


def content(uri: str) -> dict[str, bytes]:
    fs, folder = fsspec.url_to_fs(uri)
    return {name.removeprefix(folder): fs.cat_file(name) for name in fs.find(folder)}


def test_a_file_is_copied_below_its_hash_and_the_bar_reaches_its_size(project, root):
    data = LocalData(project.path / "data/table.csv")
    about, count, steps = sent(data, root)
    sha = hashlib.sha256(b"a\n1\n").hexdigest()
    assert about == UploadedData(
        uri=f"{root.removesuffix('/root')}/uploaded/root/{sha}/table.csv", sha256=sha, bytes=4, files=1
    )
    assert (count, sum(steps)) == (1, 4)
    assert content(about.uri) == {"": b"a\n1\n"}
    assert data.is_what(about)


def test_a_folder_is_copied_with_its_names_and_a_repetition_copies_nothing(project, root):
    data = LocalData(project.path / "data/parts")
    about, count, steps = sent(data, root)
    assert (about.files, about.bytes, count, sum(steps)) == (2, 3, 2, 3)
    assert content(about.uri) == {"/a/one.csv": b"1", "/two with # and ü.csv": b"22"}
    assert sent(LocalData(project.path / "data/parts"), root) == (about, 0, [3])


def test_an_interrupted_upload_is_completed_when_it_is_repeated(project, root):
    data = LocalData(project.path / "data/parts")
    about, _count, _steps = sent(data, root)
    fs, folder = fsspec.url_to_fs(about.uri)
    whole = content(about.uri)
    fs.rm(f"{folder}/a/one.csv")
    fs.pipe_file(f"{folder}/two with # and ü.csv", b"2")  # half of it
    assert sent(data, root)[:2] == (about, 2)
    assert content(about.uri) == whole


def test_what_somebody_has_spoiled_in_the_bucket_is_sent_again_also_with_the_same_size(project, root):
    data = LocalData(project.path / "data/parts")
    about, _count, _steps = sent(data, root)
    fs, folder = fsspec.url_to_fs(about.uri)
    fs.pipe_file(f"{folder}/two with # and ü.csv", b"23")
    again, count, steps = sent(data, root)
    assert (again, count, sum(steps)) == (about, 1, 3)
    assert content(about.uri)["/two with # and ü.csv"] == b"22"
    assert sent(data, root)[1] == 0


@pytest.mark.parametrize("way", ["link", "link upwards", "link in a folder", "home"])
def test_nothing_outside_of_the_project_is_sent_before_somebody_has_named_its_dataset(
    way, project, tmp_path_factory, monkeypatch
):
    """A pull request's catalog names a key on the machine of whoever tries it out."""
    home = tmp_path_factory.mktemp("home")
    (home / "id_rsa").write_text("PRIVATE KEY")
    monkeypatch.setenv("HOME", str(home))
    target = os.path.relpath(home / "id_rsa", project.path / "data") if way == "link upwards" else home / "id_rsa"
    place = "~/id_rsa" if way == "home" else "data/keys"
    if way == "link in a folder":
        (project.path / place).mkdir()
        (project.path / place / "a.csv").symlink_to(target)
    elif way != "home":
        (project.path / place).symlink_to(target)
    plan = SimpleNamespace(pipeline="p", raw=[RawData(place, ("keys",), ("read",), "key")])
    with pytest.raises(UserError) as refusal:
        to_upload(project, plan, [])
    assert str(home / "id_rsa") in str(refusal.value)
    assert "upload-data keys" in str(refusal.value)
    assert list(to_upload(project, plan, ["keys"])) == [place]


def test_a_failed_upload_is_told_with_the_cure(project, root, monkeypatch):
    def fail(*_args, **_kwargs):
        raise PermissionError("denied")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.put_file", fail)
    with pytest.raises(UserError, match=r"PermissionError: denied.*roles/storage.objectUser.*repeat the command"):
        upload(LocalData(project.path / "data/table.csv"), root, lambda size: None)


def test_the_hash_of_a_folder_covers_names_and_contents_and_no_other_place(project, tmp_path):
    def sha() -> str:
        return LocalData(project.path / "data/parts").sha256

    before = sha()
    (project.path / "data").rename(tmp_path / "moved")
    assert LocalData(tmp_path / "moved/parts").sha256 == before
    (tmp_path / "moved").rename(project.path / "data")
    (project.path / "data/parts/a/one.csv").write_text("2")
    other = sha()
    (project.path / "data/parts/a/one.csv").rename(project.path / "data/parts/a/two.csv")
    assert len({before, other, sha()}) == 3


def test_what_was_uploaded_is_recorded_beside_other_entries_as_a_part_of_the_settings(tmp_path):
    file = tmp_path / "vertexai_data.yml"
    first, second = (UploadedData(uri=f"gs://b/{n}", sha256=str(n), bytes=n, files=1) for n in (1, 2))
    record(file, {"data/z.csv": first})
    record(file, {"data/a.csv": second})
    raw = yaml.safe_load(file.read_text())
    assert list(raw["data"]) == ["data/a.csv", "data/z.csv"]
    settings = parse_settings({"run_config": {"image": "x"}, **raw}, "vertexai.yml")
    assert settings.data == {"data/z.csv": first, "data/a.csv": second}
    record(file, {"data/a.csv": first})
    assert yaml.safe_load(file.read_text())["data"]["data/a.csv"]["uri"] == "gs://b/1"
    assert [path.name for path in tmp_path.iterdir()] == ["vertexai_data.yml"]


def test_what_a_pipeline_only_reads_is_chosen_by_name_or_all_of_it(project):
    plan = planned()
    assert list(to_upload(project, plan, [])) == ["data/table.csv", "data/parts"]
    assert list(to_upload(project, plan, ["parts"])) == ["data/parts"]
    with pytest.raises(UserError, match=r"through dataset 'tabel'\. Did you mean 'table'\?"):
        to_upload(project, plan, ["tabel"])
    with pytest.raises(UserError, match=r"run_config\.root names no bucket"):
        require_bucket("data/root", "vertexai.yml")


def test_all_that_cannot_be_uploaded_is_named_at_once(project):
    catalog = {
        **CATALOG,
        "gone": {"type": "pandas.CSVDataset", "filepath": "data/gone.csv"},
        "outside": {"type": "pandas.CSVDataset", "filepath": "raw/x.csv"},
    }
    (project.path / "raw").mkdir()
    (project.path / "raw/x.csv").write_text("1")
    plan = planned(Node(same, ["table", "gone", "outside"], "x", name="read"), catalog=catalog)
    with pytest.raises(UserError) as error:
        to_upload(project, plan, [])
    assert "Dataset 'gone': there is nothing at data/gone.csv on this machine." in str(error.value)
    assert "Dataset 'outside' would be fetched to raw/x.csv, but a step can write only" in str(error.value)
    assert list(to_upload(project, plan, ["table"])) == ["data/table.csv"]
    about = UploadedData(uri="gs://b/x.csv", sha256="1", bytes=1, files=1)
    with pytest.raises(
        UserError, match=r"'outside' was uploaded and would be fetched to raw/x\.csv, but a step can write only"
    ):
        planned(Node(same, "outside", "x", name="read"), catalog=catalog, uploaded={"raw/x.csv": about})
    # What was uploaded from another machine stays as it is.
    plan = planned(Node(same, ["table", "gone"], "x", name="r"), catalog=catalog, uploaded={"data/gone.csv": about})
    assert list(to_upload(project, plan, [])) == ["data/table.csv"]


ABOUT = UploadedData(uri="gs://bucket/root/data/1/table.csv", sha256="1", bytes=4, files=1)


def test_each_step_that_reads_uploaded_data_gets_it_from_one_importer():
    plan = planned(uploaded={"data/table.csv": ABOUT})
    assert [(raw.place, raw.steps, raw.uploaded) for raw in plan.raw] == [
        ("data/table.csv", ("first", "second"), ABOUT),
        ("data/parts", ("first",), None),
    ]
    spec = compile_plan(plan, Launch("my_project"), RUN_CONFIG)
    by_name = {task.name: task for task in tasks(spec)}
    name = "vertexai-import-data-table-csv"
    assert list(by_name) == ["mlflow-start-run", name, "first", "second", "mlflow-finish-run"]
    importer = spec["deploymentSpec"]["executors"][f"exec-{name}"]["importer"]
    assert importer["typeSchema"]["schemaTitle"] == "system.Dataset"
    assert importer["metadata"] == {"path": "data/table.csv", "sha256": "1", "bytes": 4, "files": 1}
    assert not importer.get("reimport")
    for step in ("first", "second"):
        assert name in by_name[step].upstream
        assert by_name[step].artifacts["data_data_table_csv"].task == name
        args = [{"{{$}}": "{}"}.get(item, item) for item in by_name[step].container["args"]]
        assert parse_arguments(args)[0].raw == {"data/table.csv": "data_data_table_csv"}
    # Without the record nothing is imported.
    assert name not in {task.name for task in tasks(compile_plan(planned(), Launch("my_project"), RUN_CONFIG))}


def test_a_folder_of_raw_data_is_fetched_also_where_an_earlier_step_has_added_a_file():
    catalog = {**CATALOG, "more": {"type": "pandas.CSVDataset", "filepath": "data/parts/more.csv"}}
    nodes = Node(same, "table", "more", name="add"), Node(same, ["more", "parts"], "x", name="read")
    about = UploadedData(uri="gs://b/parts", sha256="2", bytes=1, files=1)
    plan = planned(*nodes, catalog=catalog, uploaded={"data/parts": about})
    assert plan.artifact_inputs["read"] == ("more",)
    assert [(raw.place, raw.steps) for raw in plan.raw] == [("data/table.csv", ("add",)), ("data/parts", ("read",))]


def test_a_node_cannot_have_the_name_of_an_importer():
    with pytest.raises(UserError, match="a name that only importers have"):
        planned(Node(same, "table", "x", name="vertexai_import_it"))


def test_this_machine_executes_importers_at_once(tmp_path):
    spec = compile_plan(planned(uploaded={"data/table.csv": ABOUT}), Launch("my_project"), RUN_CONFIG)
    for executor in spec["deploymentSpec"]["executors"].values():
        if "container" in executor:
            executor["container"] |= {"command": ["printf", "%s"], "args": ["{{$}}"]}
    job = run_spec(spec, RunOptions(tmp_path, tmp_path, max_workers=2))
    assert job.succeeded
    message = Path(job.tasks["second"].log).read_text()
    assert f'"uri": "{ABOUT.uri}"' in message
    assert '"path": "data/table.csv"' in message
    assert "system.Dataset" in message


def test_importers_are_shown_only_if_they_fail(capsys):
    names = "vertexai-import-x", "step"
    with progress() as show:
        for name in names:
            show(TaskRun(name, "", State.RUNNING))
            show(TaskRun(name, "", State.SUCCEEDED))
        show(TaskRun("vertexai-import-y", "", State.FAILED, error="not found"))
    printed = capsys.readouterr().out
    assert "vertexai-import-x" not in printed
    assert "step" in printed
    assert "vertexai-import-y" in printed
    job = PipelineJob("j", "", State.SUCCEEDED, {name: TaskRun(name, "", State.SUCCEEDED) for name in names})
    assert tables.job_as_table(job).row_count == 1


def taken(uri: str, sha256: str) -> StepIO:
    artifact = {"uri": uri, "metadata": {"sha256": sha256}}
    return StepIO({"inputs": {"artifacts": {"data_raw": {"artifacts": [artifact]}}}})


def test_a_step_fetches_uploaded_data_to_its_path_unless_the_disk_is_shared(project, root, tmp_path, monkeypatch):
    about, _count, _steps = sent(LocalData(project.path / "data/parts"), root)
    disk = tmp_path / "disk"
    (disk / "data/parts").mkdir(parents=True)
    (disk / "data/parts/of the image.csv").write_text("old")
    monkeypatch.chdir(disk)
    args = StepArguments("step", "p", raw={"data/parts": "data_raw"})
    catalog = Catalog(CATALOG, "catalog.yml")
    monkeypatch.setenv("VERTEXAI_SHARED_DISK", "1")
    Carrier(args, catalog, taken(about.uri, about.sha256)).fetch()
    assert [path.name for path in (disk / "data/parts").iterdir()] == ["of the image.csv"]
    monkeypatch.delenv("VERTEXAI_SHARED_DISK")
    Carrier(args, catalog, taken(about.uri, about.sha256)).fetch()
    assert LocalData(disk / "data/parts").sha256 == about.sha256
    with pytest.raises(DatasetError, match=r"The uploaded data/parts cannot be fetched: there is nothing at memory:"):
        Carrier(args, catalog, taken(f"{root}/gone", about.sha256)).fetch()


@pytest.mark.parametrize("change", ["replaced", "added", "removed"])
def test_uploaded_data_that_somebody_has_changed_is_not_read(project, root, tmp_path, monkeypatch, change):
    about, _count, _steps = sent(LocalData(project.path / "data/parts"), root)
    fs, folder = fsspec.url_to_fs(about.uri)
    if change == "removed":
        fs.rm(f"{folder}/a/one.csv")
    else:
        fs.pipe_file(f"{folder}/a/{'one' if change == 'replaced' else 'two'}.csv", b"2")
    (tmp_path / "disk").mkdir()
    monkeypatch.chdir(tmp_path / "disk")
    args, catalog = StepArguments("step", "p", raw={"data/parts": "data_raw"}), Catalog(CATALOG, "catalog.yml")
    with pytest.raises(
        DatasetError, match=r"The uploaded data/parts, fetched from memory:.*, does not match its recorded SHA-256"
    ):
        Carrier(args, catalog, taken(about.uri, about.sha256)).fetch()


def test_a_file_in_the_bucket_cannot_be_fetched_to_another_folder(root, tmp_path, monkeypatch):
    """Names of objects may have `..` in them, as they are no paths."""
    disk = tmp_path / "disk"
    (disk / "src").mkdir(parents=True)
    (disk / "src/nodes.py").write_text("good")
    monkeypatch.chdir(disk)
    fs, folder = fsspec.url_to_fs(f"{root}/parts")
    fs.store[f"{folder}/x/../../../src/nodes.py"] = MemoryFile(fs, f"{folder}/x/../../../src/nodes.py", b"evil")
    args, catalog = StepArguments("step", "p", raw={"data/parts": "data_raw"}), Catalog(CATALOG, "catalog.yml")
    with pytest.raises(
        DatasetError, match=r"The uploaded data/parts has a file that would be fetched to another folder"
    ):
        Carrier(args, catalog, taken(f"{root}/parts", "")).fetch()
    assert (disk / "src/nodes.py").read_text() == "good"


def test_doctor_says_of_each_file_where_the_steps_get_it_from(project):
    assert check_data(project, planned()) == "data/table.csv: in the image; data/parts: in the image"
    about = UploadedData(uri="gs://b/table.csv", sha256=hashlib.sha256(b"a\n1\n").hexdigest(), bytes=4, files=1)
    result = check("data", lambda: check_data(project, planned(uploaded={"data/table.csv": about})))
    assert (result.ok, result.doubtful) == (True, False)
    assert result.message == "data/table.csv: uploaded, gs://b/table.csv; data/parts: in the image"


def test_doctor_names_all_that_is_missing_with_the_two_cures(project):
    (project.path / "data").rename(project.path / "elsewhere")
    result = check("data", lambda: check_data(project, planned()))
    assert not result.ok
    assert result.message.startswith("Not in this folder, so not in the image either: data/table.csv, data/parts.")
    assert "kedro vertexai -e cloud upload-data" in result.message
    assert ".dockerignore" in result.message


@pytest.mark.parametrize("text", ["b\n1\n", "longer\n"])
def test_doctor_warns_of_a_file_that_has_changed_since_it_was_uploaded(project, root, text):
    data = LocalData(project.path / "data/table.csv")
    about, _count, _steps = sent(data, root)
    data.path.write_text(text)
    result = check("data", lambda: check_data(project, planned(uploaded={"data/table.csv": about})))
    assert result.doubtful
    assert "data/table.csv has changed since it was uploaded" in result.message
    assert "kedro vertexai -e cloud upload-data table" in result.message
    again, count, _steps = sent(LocalData(data.path), root)
    assert (count, again.uri == about.uri) == (1, False)
    assert content(about.uri) == {"": b"a\n1\n"}


def test_without_the_data_the_record_alone_suffices(project):
    about = UploadedData(uri="gs://b/parts", sha256="2", bytes=3, files=2)
    (project.path / "data").rename(project.path / "elsewhere")
    result = check(
        "data", lambda: check_data(project, planned(uploaded={"data/table.csv": ABOUT, "data/parts": about}))
    )
    assert (result.ok, result.doubtful) == (True, False)


@pytest.mark.parametrize(
    ("ignore", "is_in"),
    [
        ("", True),
        ("*\n!src\n", False),
        ("*\n!data/table.csv\n!data/parts\n", True),
        ("*\n!data\n", True),
        ("*\n!data\ndata/*\n", False),
        ("*\n!/data/**\n", True),
        ("*\n!data/table.csv\n!data/parts/a/one.csv\n", True),
        ("# data\n**/*.pem\ndata/other\n", True),
    ],
)
def test_dockerignore_decides_what_is_in_the_image(project, ignore, is_in):
    (project.path / ".dockerignore").write_text(ignore)
    sources = find_sources(project, planned())
    assert (len(sources.available), len(sources.doubtful), sources.problems) == ((2, 0, []) if is_in else (0, 2, []))
    assert all(".dockerignore seems to keep it out of the image" in warning for warning in sources.doubtful)


def test_what_is_outside_of_the_project_cannot_be_in_its_image(project):
    catalog = {"table": {"type": "pandas.CSVDataset", "filepath": "/srv/table.csv"}}
    sources = find_sources(project, planned(Node(same, "table", "x", name="n"), catalog=catalog))
    assert "/srv/table.csv is outside this folder" in sources.doubtful[0]


def with_settings(project: SimpleNamespace, root: str, about: UploadedData) -> SimpleNamespace:
    run_config = RunConfig(image="registry/x", root=root)
    return SimpleNamespace(
        **vars(project), settings=SimpleNamespace(run_config=run_config, data={"data/table.csv": about})
    )


def test_data_that_is_gone_from_the_bucket_stops_a_launch_and_names_the_command(project, root):
    about = sent(LocalData(project.path / "data/table.csv"), root)[0]
    project, plan = with_settings(project, root, about), planned(uploaded={"data/table.csv": about})
    assert check_uploads(project) == "found in the bucket: data/table.csv"
    assert refuse_launch_without_data(project, plan) == []
    fs, name = fsspec.url_to_fs(about.uri)
    fs.rm(name)
    for look in (lambda: check_uploads(project), lambda: refuse_launch_without_data(project, plan)):
        with pytest.raises(UserError) as error:
            look()
        assert f"data/table.csv is no longer at {about.uri}" in str(error.value)
        assert "kedro vertexai -e cloud upload-data" in str(error.value)


def test_whoever_may_not_look_into_the_bucket_is_told_so_and_may_launch(project, root, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError("storage.objects.get")

    about = sent(LocalData(project.path / "data/table.csv"), root)[0]
    project = with_settings(project, root, about)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.exists", refuse)
    with pytest.raises(Doubt, match=r"Cannot check whether .* exists.*storage\.objects\.get"):
        check_uploads(project)
    assert refuse_launch_without_data(project, planned(uploaded={"data/table.csv": about})) == []


def test_data_that_an_older_version_put_where_it_is_deleted_is_reported(project, root):
    about = ABOUT.model_copy(update={"uri": f"{root}/data/1/table.csv"})
    fsspec.filesystem("memory").pipe(about.uri, b"1")
    project, plan = with_settings(project, root, about), planned(uploaded={"data/table.csv": about})
    (warning,) = refuse_launch_without_data(project, plan)
    assert "deletes that 90 days after the upload. Upload it again: kedro vertexai -e cloud upload-data" in warning
    with pytest.raises(Doubt, match=about.uri):
        check_uploads(project)
