"""Broken code and configuration end every command with one sentence that says where, and never with a traceback."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from warm_kedro import WarmKedro, warm_kedro

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("broken-projects")]

PIPELINE = """
from kedro.pipeline import Node, Pipeline
from . import nodes


def create_pipeline(**_kwargs):
    return Pipeline([Node(nodes.show, ["sales", "params:cutoff"], None, name="show")])
"""
PACKAGE = "src/test_project/pipelines/under_test"
VERTEXAI = {
    "project_id": "project-42",
    "region": "europe-west1",
    "run_config": {
        "image": "europe-west1-docker.pkg.dev/project-42/images/x:1",
        "root": "gs://bucket/root",
        "schedules": {"__default__": {"cron_expression": "0 4 * * *"}},
    },
}
FILES = {
    f"{PACKAGE}/__init__.py": PIPELINE,
    f"{PACKAGE}/nodes.py": "def show(sales, cutoff):\n    print(sales, cutoff)\n",
    "conf/base/catalog.yml": "sales: {type: json.JSONDataset, filepath: 'data/01_raw/sales.json'}\n",
    "conf/base/parameters.yml": "cutoff: 1\n",
    "conf/base/vertexai.yml": yaml.safe_dump(VERTEXAI),
    "conf/base/globals.yml": "a: 1\n",
}
COMMANDS = [
    ("plan",), ("compile",), ("doctor", "--offline"), ("run-local",), ("run-once", "--dry-run"), ("schedule", "--dry-run"), ("upload-data",),
]  # fmt: skip
BROKEN = {
    "code": (
        {f"{PACKAGE}/nodes.py": FILES[f"{PACKAGE}/nodes.py"] + "\n\nundefined\n"},
        f"{PACKAGE}/nodes.py, line 5: NameError: name 'undefined' is not defined (pipeline module test_project.pipelines.under_test)",
    ),
    "a catalog that needs a parameter": (
        {"conf/base/catalog.yml": FILES["conf/base/catalog.yml"].replace("sales.json", "${runtime_params:day}.json")},
        "conf/base/catalog.yml: sales.filepath needs the runtime parameter 'day'; give it with --params day=…",
    ),
    "parameters that need one": (
        {"conf/base/parameters.yml": "cutoff: ${runtime_params:cutoff}\n"},
        "conf/base/parameters.yml: cutoff needs the runtime parameter 'cutoff'; give it with --params cutoff=…",
    ),
    "parameters that are no YAML": (
        {"conf/base/parameters.yml": "cutoff: [1\n"}, "conf/base/parameters.yml, line 2: did not find expected ',' or ']'.",
    ),
    "a parameter that is missing": (
        {"conf/base/parameters.yml": "cut_off: 1\n"},
        "Parameter 'cutoff' (input of node 'show' of pipeline '__default__') is in no parameters file. Did you mean 'cut_off'?",
    ),
    "a key in two files": (
        {"conf/base/parameters_more.yml": "cutoff: 2\n"}, "cutoff. Keep one of them.",
    ),
    "a dataset in two files": (
        {"conf/base/catalog_more.json": '{"sales": {}}'}, "sales. Keep one of them.",
    ),
    "globals that are no YAML": ({"conf/base/globals.yml": "a: [\n"}, "conf/base/globals.yml, line 2: did not find expected"),
    "a global that is missing": (
        {"conf/base/parameters.yml": "cutoff: ${globals:cutoff}\n"},
        "conf/base/parameters.yml: cutoff refers to 'cutoff' of globals.yml, which does not exist. Add it there.",
    ),
    "a wrong key": (
        {"conf/base/vertexai.yml": FILES["conf/base/vertexai.yml"].replace("image:", "imgae:")},
        "unknown key 'run_config.imgae'. Did you mean 'image'?",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def kedro(baked, tmp_path_factory) -> Iterator[WarmKedro]:
    folder = tmp_path_factory.mktemp("broken") / "test-project"
    project = shutil.copytree(baked(project_name="Test Project", example="no"), folder)
    (project / PACKAGE).mkdir(parents=True)
    write(project, FILES)
    with warm_kedro(project) as kedro:
        yield kedro


def write(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)


@pytest.mark.parametrize("command", COMMANDS, ids=[command[0] for command in COMMANDS])
@pytest.mark.parametrize("kind", BROKEN)
def test_a_command_names_the_place(kedro, kind, command):
    files, message = BROKEN[kind]
    write(kedro.project, files)
    try:
        code, printed = kedro("vertexai", *command, COLUMNS="1000")
    finally:
        for file in files:
            (kedro.project / file).unlink()
        write(kedro.project, FILES)
    assert code == 1, printed
    assert message in printed
    assert "Traceback" not in printed
    assert not (kedro.project / "pipeline.json").exists()


WOULD_FAIL_IN_A_STEP = {
    "a class that does not exist": (
        "sales: {type: json.JSONDatset, filepath: a.json}\n", ("plan", "compile", "run-local"),
        "catalog.yml: sales.type: kedro_datasets.json has no class 'JSONDatset'. Did you mean 'JSONDataset'?",
    ),
    "an argument that does not exist": (
        "sales: {type: json.JSONDataset, filpath: a.json}\n", ("plan", "compile", "run-local"),
        "catalog.yml: sales.filpath: JSONDataset has no such argument. Did you mean 'filepath'?",
    ),
    "a raw file that is not there": (
        FILES["conf/base/catalog.yml"], ("run-local",),
        "Dataset 'sales' (input of step 'show'): there is no file data/01_raw/sales.json.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WOULD_FAIL_IN_A_STEP)
def test_what_would_fail_in_a_step_is_said_before_one_starts(kedro, kind):
    catalog, commands, message = WOULD_FAIL_IN_A_STEP[kind]
    write(kedro.project, {"conf/base/catalog.yml": catalog})
    try:
        for command in commands:
            code, printed = kedro("vertexai", command, COLUMNS="1000")
            assert code == 1, printed
            assert message in printed
            assert "mlflow-start-run" not in printed
    finally:
        write(kedro.project, FILES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plna"], "No such command 'plna'. Did you mean 'plan'?"),
        (["plan", "--to-outputs", "salse"], "Pipeline does not contain datasets named ['salse']. Did you mean 'sales'?"),
        (["plan", "--from-inputs", "salse"], "Pipeline does not contain datasets named ['salse']. Did you mean 'sales'?"),
        (["plan", "--nodes", "shwo"], "Pipeline does not contain nodes named ['shwo']. Did you mean 'show'?"),
        (["plan", "--load-versions", "salse:1"], "--load-versions salse:1: the catalog has no dataset 'salse'. Did you mean 'sales'?"),
        (["run-local", "--load-versions", "salse:1"], "the catalog has no dataset 'salse'. Did you mean 'sales'?"),
    ],
)  # fmt: skip
def test_what_is_misspelt_is_answered_with_the_nearest_name(kedro, arguments, message):
    code, printed = kedro("vertexai", *arguments, COLUMNS="1000")
    assert code != 0
    assert message in printed


SETTINGS_THAT_RAISE = {
    "a package that is missing": ("from nowhere import Hooks\n", "ModuleNotFoundError: No module named 'nowhere'"),
    "what a package has no more": (
        "from kedro.config import TemplatedConfigLoader\n", "ImportError: cannot import name 'TemplatedConfigLoader'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SETTINGS_THAT_RAISE)
def test_settings_that_raise_are_named_because_kedro_goes_on_without_them(kedro, kind):
    settings = kedro.project / "src/test_project/settings.py"
    before = settings.read_text()
    try:
        for command in (("plan",), ("doctor", "--offline"), ("run-local",)):
            settings.write_text(f"{before}\n{SETTINGS_THAT_RAISE[kind][0]}")
            code, printed = kedro("vertexai", *command, COLUMNS="1000")
            assert code == 1, printed
            place = f"src/test_project/settings.py, line {len(before.splitlines()) + 2}: {SETTINGS_THAT_RAISE[kind][1]}"
            assert (
                f"settings.py cannot be imported, and Kedro would go on without it, and so without the project's hooks. {place}"
                in printed
            )
            assert "Traceback" not in printed
    finally:
        settings.write_text(before)


@pytest.mark.parametrize("uri", ["null", "mlruns", "file:///tmp/mlruns", "./somewhere"])
def test_an_mlflow_store_in_files_is_refused_before_a_step_starts(kedro, uri):
    file = kedro.project / "conf/base/mlflow.yml"
    before = file.read_text()
    file.write_text(f"server:\n  mlflow_tracking_uri: {uri}\n")
    try:
        for command in (("doctor", "--offline"), ("run-local",), ("run-once", "--dry-run")):
            code, printed = kedro("vertexai", *command, COLUMNS="1000")
            assert code == 1, printed
            assert "mlflow.yml: server.mlflow_tracking_uri: MLflow 3 keeps no runs in files" in printed
    finally:
        file.write_text(before)


def test_a_runtime_parameter_that_files_need_is_enough_when_it_is_given(kedro):
    write(kedro.project, BROKEN["parameters that need one"][0] | BROKEN["a catalog that needs a parameter"][0])
    for command in (
        ("plan",),
        ("doctor", "--offline"),
        ("run-once", "--dry-run"),
        ("schedule", "--dry-run"),
        ("compile",),
    ):
        code, printed = kedro("vertexai", *command, "--params", "cutoff=3,day=monday")
        assert "runtime parameter" not in printed
        assert "Traceback" not in printed
    (kedro.project / "pipeline.json").unlink()
    assert code == 0, printed
    code, printed = kedro("vertexai", "compile", "--params", "cutof=3,day=monday")
    write(kedro.project, FILES)
    assert code == 1
    assert "cutoff needs the runtime parameter 'cutoff'; give it with --params cutoff=…" in printed


def test_options_of_kedro_run_choose_the_same_nodes(kedro):
    write(kedro.project, {
        f"{PACKAGE}/__init__.py": """
from kedro.pipeline import Node, Pipeline


def create_pipeline(**_kwargs):
    def same(value):
        return value

    one = Pipeline([Node(same, "params:where", "x", name="one")], namespace="first", parameters={"params:where": "params:where"})
    return one + Pipeline([Node(same, "params:where", "y", name="two"), Node(same, "y", "z", name="three")])
""",
        "conf/base/parameters.yml": "where: base\n",
        "conf/base/catalog.yml": "y: {type: json.JSONDataset, filepath: data/y.json}\n",
    })  # fmt: skip
    shutil.copytree(kedro.project / "conf", kedro.project / "elsewhere")
    write(kedro.project, {"elsewhere/base/parameters.yml": "where: elsewhere\n"})
    try:
        for options, names in (
            (("--namespaces", "first"), {"one"}), (("--to-outputs", "y", "--async"), {"two"}), (("--from-inputs", "y", "--runner-params", "is_async=true"), {"three"}),
            (("--pipelines", "under_test", "--conf-source", "elsewhere"), {"one", "two", "three"}),
        ):  # fmt: skip
            code, printed = kedro("run", *options, COLUMNS="1000")
            assert code == 0, printed
            assert {
                name for name in ("one", "two", "three") if f"Completed node: {name}" in printed.replace("first.", "")
            } == names
            code, printed = kedro("vertexai", "plan", "--format", "json", *options)
            assert code == 0, printed
            nodes = {node.removeprefix("first.") for step in yaml.safe_load(printed)["steps"] for node in step["nodes"]}
            assert nodes == names
        code, printed = kedro("vertexai", "plan", "--conf-source", "/tmp")
        assert (code, "--conf-source /tmp: name a folder of this project" in printed) == (1, True)
        code, printed = kedro("vertexai", "plan", "--only-missing-outputs")
        assert (code, "start with empty disks" in printed) == (2, True)
        code, printed = kedro("vertexai", "plan", "--runner-params", "max_workers=2")
        assert (code, "--runner-params: max_workers has no effect" in printed) == (2, True)
        code, printed = kedro("vertexai", "plan", "--params", "a='b' c")
        assert (code, "not well-formed YAML" in printed) == (2, True)
        code, printed = kedro("vertexai", "plan", KEDRO_ENV="nowhere")
        assert (code, "KEDRO_ENV: nowhere: there is no folder conf/nowhere." in printed) == (1, True)
    finally:
        shutil.rmtree(kedro.project / "elsewhere")
        write(kedro.project, FILES)


def test_commands_for_the_cloud_say_that_they_leave_conf_local_out(kedro):
    project = kedro.project
    for name in ("local", "production"):
        (project / "conf" / name).mkdir(exist_ok=True)
    write(project, {"conf/local/parameters.yml": "cutoff: 3\n", "conf/local/credentials.yml": "a: b\n"})
    try:
        for command in (("compile",), ("doctor", "--offline"), ("schedule", "--dry-run")):
            _code, printed = kedro("vertexai", *command, COLUMNS="1000")
            assert "conf/local/parameters.yml: read on this machine, but not in the image" in printed
            _code, printed = kedro("vertexai", "-e", "production", *command, COLUMNS="1000")
            assert "conf/local/parameters.yml: not read with -e production" in printed
            assert "conf/local/credentials.yml" not in printed
    finally:
        (project / "conf/local/parameters.yml").unlink()
        (project / "conf/local/credentials.yml").unlink()
        shutil.rmtree(project / "conf/production")
        (project / "pipeline.json").unlink()


@pytest.mark.parametrize("how", ["a link", "a setting"])
def test_a_configuration_outside_of_the_project_runs_here_and_is_refused_where_an_image_lacks_it(kedro, how):
    project, shared = kedro.project, kedro.project.parent / "shared conf"
    settings = project / "src/test_project/settings.py"
    before = settings.read_text()
    write(project, {"data/01_raw/sales.json": "[1]"})
    shutil.move(project / "conf", shared)
    local = {"run_config": {"image": "x"}}
    try:
        if how == "a link":
            (project / "conf").symlink_to(shared)
        else:
            settings.write_text(f"{before}\nCONF_SOURCE = {str(shared)!r}\n")
        code, printed = kedro("vertexai", "doctor", "--offline", COLUMNS="1000")
        assert code == 1
        assert "outside of this project, so the steps' image has no configuration" in printed
        assert printed.count("✓") > 1  # the other checks are made as well
        (shared / "base/vertexai.yml").write_text(yaml.safe_dump(local))
        code, printed = kedro("vertexai", "run-local", COLUMNS="1000")
        assert code == 0, printed
        (shared / "base/catalog.yml").write_text("sales: {type: json.JSONDataset, filepath: [}\n")
        code, printed = kedro("vertexai", "plan", COLUMNS="1000")
        assert (code, "base/catalog.yml, line 1:" in printed, "Traceback" in printed) == (1, True, False)
    finally:
        settings.write_text(before)
        (project / "conf").unlink(missing_ok=True)
        shutil.move(shared, project / "conf")
        write(project, FILES)


def test_a_folder_that_jobs_cannot_be_kept_in_is_named_before_anything_runs(kedro):
    project = kedro.project
    shutil.rmtree(project / ".vertexai", ignore_errors=True)
    (project / ".vertexai").write_text("a file")
    try:
        code, printed = kedro("vertexai", "run-local", COLUMNS="1000")
        assert (code, "Traceback" in printed) == (1, False)
        assert ".vertexai cannot be written (" in printed
        assert "run-local keeps jobs and logs there" in printed
    finally:
        (project / ".vertexai").unlink()


def test_a_version_that_only_an_earlier_job_has_is_refused_before_anything_is_launched(kedro):
    project = kedro.project
    entry = "sales: {type: json.JSONDataset, filepath: data/01_raw/sales.json, versioned: true}\n"
    version = "2026-01-01T00.00.00.000Z"
    shutil.rmtree(project / "data", ignore_errors=True)
    write(project, {"conf/base/catalog.yml": entry, f"data/01_raw/sales.json/{version}/sales.json": "[1]"})
    try:
        code, printed = kedro("vertexai", "compile", "--load-versions", f"sales:{version}", COLUMNS="1000")
        assert code == 0, printed
        code, printed = kedro(
            "vertexai", "compile", "--load-versions", "sales:2026-02-02T00.00.00.000Z", COLUMNS="1000"
        )
        assert (code, "Traceback" in printed) == (1, False)
        assert (
            "--load-versions sales:2026-02-02T00.00.00.000Z: there is no data/01_raw/sales.json/2026-02-02" in printed
        )
    finally:
        shutil.rmtree(project / "data")
        write(project, FILES)
