"""What ``vertexai-adopt`` reads and merges, text by text, and its tables against the packages that are installed."""

import http.server
import importlib
import inspect
import os
import re
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from importlib.metadata import metadata
from pathlib import Path

import existing_projects as projects
import jinja2
import kedro.framework.hooks.specs as specs
import pytest
import tomlkit
import yaml
from kedro.framework.project import LOGGING as LOGGING_OF_KEDRO
from kedro.framework.session import KedroSession
from kedro.io import DataCatalog
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from running import BIN, ROOT, commit, run

from kedro_vertexai_mlflow.adopt import kedro1
from kedro_vertexai_mlflow.adopt.code import merge_cli, merge_settings
from kedro_vertexai_mlflow.adopt.configuration import (
    OBSOLETE_KEYS,
    check_logging,
    edit_catalog,
    edit_mlflow,
    edit_vertexai,
    read_facts,
)
from kedro_vertexai_mlflow.adopt.findings import find_outdated_code
from kedro_vertexai_mlflow.adopt.linters import exclude_platform
from kedro_vertexai_mlflow.adopt.locks import find_conflicting_lines, resolve_locks
from kedro_vertexai_mlflow.adopt.plan import Plan, make_plan
from kedro_vertexai_mlflow.adopt.project import read_project
from kedro_vertexai_mlflow.adopt.pyproject import merge_pyproject
from kedro_vertexai_mlflow.errors import UserError as AdoptError
from kedro_vertexai_mlflow.upgrade.command import find_upgrade_notes
from vertexai_mlflow import __version__
from vertexai_mlflow.settings import carried_over

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"


def exists(name: str) -> bool:
    """Whether a dotted name can be imported."""
    module, _, attribute = name.rpartition(".")
    for wanted, inside in ((name, ""), (module, attribute)):
        with suppress(ImportError, ValueError):
            imported = importlib.import_module(wanted)
            if not inside or inside in dir(imported):
                return True
    return False


def test_the_tables_name_what_is_gone_and_what_there_is_instead():
    for old, new in kedro1.IMPORTS.items():
        assert not exists(old.removesuffix(".*")), old
        name = re.match(r"[\w.%]+", new)[0].partition(".create")[0]
        assert not name.startswith("kedro") or exists(name), new
    for old, new in kedro1.RENAMED_TYPES.items():
        assert exists(new if new.startswith("kedro") else f"kedro_datasets.{new}"), new
        assert not exists(old if old.startswith("kedro") else f"kedro_datasets.{old}"), old
    for old, new in kedro1.REMOVED_TYPES.items():
        name = re.match(r"[\w.]+", new)[0]
        assert exists(name if name.startswith("kedro") else f"kedro_datasets.{name}"), new
        assert not exists(f"kedro_datasets.{old}"), old
    for method in kedro1.CATALOG_METHODS:
        assert not hasattr(DataCatalog, method), method
    hooks = {
        name: set(inspect.signature(function).parameters)
        for group in vars(specs).values() if inspect.isclass(group)
        for name, function in vars(group).items() if inspect.isfunction(function)
    }  # fmt: skip
    assert not set(kedro1.HOOKS) & set(hooks)
    arguments = set().union(*hooks.values())
    assert not set(kedro1.HOOK_ARGUMENTS) & arguments
    assert set(kedro1.HOOK_ARGUMENTS.values()) <= arguments
    of_create = set(inspect.signature(KedroSession.create).parameters)
    assert not {argument for function, argument in kedro1.ARGUMENTS if function == "KedroSession.create"} & of_create


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a: {type: pandas.CSVDataSet, filepath: x}", "a: {type: pandas.CSVDataset, filepath: x}"),
        ("a:\n  type: 'kedro.extras.datasets.pandas.CSVDataSet'  # why\n", "a:\n  type: 'pandas.CSVDataset'  # why\n"),
        ("a: {type: kedro_datasets.json.JSONDataSet}", "a: {type: kedro_datasets.json.JSONDataset}"),
        ("a: {type: MemoryDataSet}", "a: {type: MemoryDataset}"),
        ("a: {type: CachedDataSet, dataset: {type: pickle.PickleDataSet}}", "a: {type: CachedDataset, dataset: {type: pickle.PickleDataset}}"),
        ("a: {type: kedro_mlflow.io.artifacts.MlflowArtifactDataSet, data_set: {type: json.JSONDataSet}}", "a: {type: kedro_mlflow.io.artifacts.MlflowArtifactDataset, dataset: {type: json.JSONDataset}}"),
        ('"{name}_csv": {type: pandas.CSVDataSet}', '"{name}_csv": {type: pandas.CSVDataset}'),
        ("a: {type: matplotlib.MatplotlibWriter}", "a: {type: matplotlib.MatplotlibDataset}"),
        ("a:\n  layer: raw\n  type: json.JSONDataset", "a:\n  metadata: {kedro-viz: {layer: raw}}\n  type: json.JSONDataset"),
        ("a: {type: mine.CSVDataSet}", "a: {type: mine.CSVDataSet}"),
        ("a: {type: other.package.CSVDataSet}", "a: {type: other.package.CSVDataSet}"),
        ("a: {type: pandas.CSVDataset, load_args: {layer: 1, type: x.DataSet}}", "a: {type: pandas.CSVDataset, load_args: {layer: 1, type: x.DataSet}}"),
    ],
)  # fmt: skip
def test_spellings_of_the_catalog_are_changed_and_nothing_else(before, after):
    assert edit_catalog(before, {"mine"}).text == after
    assert edit_catalog(after, {"mine"}).replacements == []


def test_what_has_no_successor_and_what_is_no_yaml_is_left_to_the_user():
    change = edit_catalog("a:\n  type: tracking.MetricsDataSet\n", set())
    assert change.text == "a:\n  type: tracking.MetricsDataSet\n"
    message = "tracking.MetricsDataSet is gone: use json.JSONDataset, or for metrics of MLflow one MlflowMetricDataset for each number."
    assert change.todos == [(2, message)]
    ((line, message),) = edit_catalog("a:\n  b: 1\n{% for x in y %}\n", set()).todos
    assert line == 3
    assert "not YAML" in message


def test_keys_without_a_meaning_become_comments_with_all_their_lines():
    text = (
        "project_id: p\nrun_config:\n  ttl: 3\n  # of the next\n  image: x\n  volume:\n    size: 1\n\n    keep: true\n"
    )
    change = edit_vertexai(text)
    assert change.text == (
        "project_id: p\nrun_config:\n#   ttl: 3\n  # of the next\n  image: x\n#   volume:\n#     size: 1\n# \n#     keep: true\n"
    )
    assert [line for line, _ in change.replacements] == [3, 6]


def test_facts_that_are_not_facts_are_not_taken():
    assert read_facts("project_id: ${oc.env:P}\nregion: '<region>'\nrun_config: {image: gcr.io/p/x, root: b/c}") == {
        "gcp_bucket": "gs://b/c",
        "repo_name": "x",
    }
    assert read_facts("[") == {}


ANSWERS = {
    "example": "no", "kedro_version": "1.7.0", "python_package": "p", "project_name": "P", "repo_name": "p",
    "python_version": "3.11",
}  # fmt: skip
OURS = jinja2.Template((TEMPLATE / "pyproject.toml").read_text()).render(cookiecutter=ANSWERS)
LOCK = (TEMPLATE / "requirements-launch.lock").read_text()
KEDRO = '[tool.kedro]\npackage_name = "p"\nkedro_init_version = "1.2.0"\n'


def dependencies(theirs: str, **requirements: str) -> dict[str, str]:
    merged = merge_pyproject(f"{theirs}\n{KEDRO}", OURS, LOCK, requirements)
    lines = tomlkit.parse(merged.text).unwrap()["project"]["dependencies"]
    return {re.match(r"[\w-]+", words)[0]: words for words in lines}


@pytest.mark.parametrize(
    ("theirs", "merged"),
    [
        ("kedro>=1.2", "kedro>=1.2"),
        ("kedro==1.2.0", "kedro>=1.7,<2"),
        ("kedro[jupyter]~=1.0", "kedro~=1.0"),
        ("kedro[jupyter,pandas.CSVDataSet]>=1.2", "kedro>=1.2"),
        ("kedro-mlflow<2", "kedro-mlflow>=2.0.3,<3"),
        ("kedro-datasets[pandas.CSVDataSet]>=3", "kedro-datasets[pandas.CSVDataSet]>=3"),
        ("kedro-datasets[matplotlib-matplotlibwriter]>=3", "kedro-datasets[matplotlib-matplotlibdataset]>=3"),
        ("kedro-datasets[matplotlib.MatplotlibWriter]>=3", "kedro-datasets[matplotlib-matplotlibdataset]>=3"),
        ("pyarrow == 15 ; python_version > '3'", "pyarrow>=18"),
        ("requests~=2.0", "requests~=2.0"),
        ("kedro-airflow==0.5", "kedro-airflow"),
    ],
)
def test_a_requirement_of_the_users_stays_if_it_allows_the_locked_version(theirs, merged):
    name = re.match(r"[\w-]+", theirs)[0]
    assert dependencies(f'[project]\nname = "p"\ndependencies = ["{theirs}"]')[name] == merged


# Extras that kedro-datasets 1, 3, 5 and 7 and Kedro 0.18 had and kedro-datasets 9 has not.
GONE_EXTRAS = [
    "geopandas-geojsondataset", "matplotlib-matplotlibwriter", "networkx-networkxdataset", "polars-genericdataset",
    "tracking", "tracking-jsondataset", "tracking-metricsdataset",
]  # fmt: skip


@pytest.mark.parametrize("package", ["kedro-datasets", "kedro"])
@pytest.mark.parametrize("extra", [*GONE_EXTRAS, "matplotlib.MatplotlibWriter", "geopandas.GeoJSONDataSet"])
def test_an_extra_of_a_dataset_that_has_another_name_now_is_renamed(package, extra):
    """uv only warns of an unknown extra, and the image would lack the packages of the dataset."""
    result = dependencies(f'[project]\nname = "p"\ndependencies = ["{package}[pandas-csvdataset,{extra}]"]')
    extras = Requirement(result["kedro-datasets"]).extras
    assert {canonicalize_name(name) for name in extras} <= set(metadata("kedro-datasets").get_all("Provides-Extra"))
    assert "pandas-csvdataset" in extras
    assert len(extras) == (1 if extra.startswith("tracking") else 2)


def merged_groups(theirs: str) -> dict[str, list[str]]:
    project = tomllib.loads(merge_pyproject(f"{theirs}\n{KEDRO}", OURS, LOCK, {}).text)["project"]
    return {"dependencies": project["dependencies"], **project["optional-dependencies"]}


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        # Kedro-Viz and Jupyter are not in the locks; what the template needs of them counts.
        ({"dependencies": ["kedro-viz~=6.0"]}, {"viz": ["kedro-viz>=12.3,<13"]}),
        ({"viz": ["kedro-viz==11.0.1"]}, {"viz": ["kedro-viz>=12.3,<13"]}),
        ({"dependencies": ["kedro-viz>=6.7.0"]}, {"viz": ["kedro-viz>=6.7.0"]}),
        ({"viz": ["kedro-viz==12.4.0"]}, {"viz": ["kedro-viz==12.4.0"]}),
        ({"dependencies": ["jupyterlab~=3.0"]}, {"notebook": ["jupyterlab>=4,<5"]}),
        # A tool that is among the dependencies already is not asked for a second time.
        ({"dependencies": ["setuptools~=68.0"]}, {"dependencies": ["setuptools~=68.0"], "dev": []}),
        ({"dependencies": ["uv==0.9.1"]}, {"dependencies": ["uv==0.9.1"], "dev": []}),
        # What launching needs may be among the dependencies, in another version.
        ({"dependencies": ["packaging==21.3"]}, {"dependencies": ["packaging>=24"], "launch": []}),
        ({"dependencies": ["rich>=12"]}, {"dependencies": ["rich>=12"], "launch": []}),
        # What a step needs must be in the image, whichever extra has it too.
        ({"dev": ["mlflow<3"]}, {"dependencies": ["mlflow>=3.17,<4"], "dev": ["mlflow>=3.17,<4"]}),
        ({"dev": ["pyarrow"]}, {"dependencies": ["pyarrow>=18"], "dev": ["pyarrow"]}),
        # Extras that are not installed together with these stay.
        ({"docs": ["packaging==21.3"]}, {"docs": ["packaging==21.3"], "launch": ["packaging>=24"]}),
    ],
)  # fmt: skip
def test_what_the_docs_say_to_install_together_does_not_contradict_itself(theirs, expected):
    (group, requirements) = next(iter(theirs.items()))
    extras = "" if group == "dependencies" else f"[project.optional-dependencies]\n{group} = {requirements}\n"
    base = requirements if group == "dependencies" else []
    groups = merged_groups(f'[project]\nname = "p"\ndependencies = {base}\n{extras}')
    names = {re.match(r"[\w-]+", text)[0] for text in requirements}
    for group, texts in expected.items():
        assert [text for text in groups[group] if re.match(r"[\w-]+", text)[0] in names] == texts, group


def test_comments_and_other_tables_of_pyproject_stay():
    theirs = f'# Top\n[project]\nname = "p"  # mine\ndependencies = [\n    "a",  # first\n    "b",\n]\n\n{KEDRO}\n[tool.other]\nx = [1,2] # odd\n'
    text = merge_pyproject(theirs, OURS, LOCK, {}).text
    for line in ("# Top\n", 'name = "p"  # mine\n', '    "a",  # first\n', '    "b",\n', "x = [1,2] # odd\n"):
        assert line in text
    assert merge_pyproject(text, OURS, LOCK, {}).text == text


OWN = {"demand", "vertexai_mlflow"}


def test_settings_count_in_the_order_kedro_reads_them():
    theirs = (
        '"""Mine."""\nCONFIG_LOADER_ARGS = {"base_env": "b", "merge_strategy": {"parameters": "soft"}}\nHOOKS = ()\n'
    )
    merged = merge_settings(theirs, OWN).text
    variables: dict = {}
    exec(merged, variables)
    arguments = variables["CONFIG_LOADER_ARGS"]
    assert arguments["base_env"] == "b"
    assert arguments["merge_strategy"] == {"vertexai": "soft", "parameters": "soft"}
    assert set(arguments["custom_resolvers"]) == {"oc.env", "gcp.id_token", "gcp.access_token", "gcp.secret"}
    assert merge_settings(merged, OWN).text == merged
    # Without arguments of the user's, they are Kedro's.
    exec(merge_settings("HOOKS = ()\n", OWN).text, variables)
    assert (variables["CONFIG_LOADER_ARGS"]["base_env"], variables["CONFIG_LOADER_ARGS"]["default_run_env"]) == (
        "base",
        "local",
    )


@pytest.mark.parametrize(
    "head",
    [
        "",
        '"""Mine."""\n',
        '"""Mine."""\n\nimport os\n',
        "from kedro.config import OmegaConfigLoader\n",
        "import os\n\nfrom kedro.config import OmegaConfigLoader\n\nfrom demand.hooks import Hooks\n",
        "from kedro.config import OmegaConfigLoader\n\nfrom zebra.hooks import Hooks\n",
        "from kedro.config import OmegaConfigLoader\n\nfrom .hooks import Hooks\n",
        "from .hooks import Hooks\n",
        "import demand\nfrom demand.hooks import Hooks\nfrom zebra import x\n",
    ],
)
def test_the_import_is_where_a_linter_expects_it(head, tmp_path):
    for package in ("demand", "zebra", "vertexai_mlflow"):
        (tmp_path / "src" / package).mkdir(parents=True)
        for module in ("__init__", "hooks", "cli", "kedro_settings"):
            (tmp_path / "src" / package / f"{module}.py").touch()
    body = "\nHOOKS = ()\n" if head else "HOOKS = ()\n"
    settings = tmp_path / "src/demand/settings.py"
    settings.write_text(merge_settings(head + body, OWN | {"zebra"}).text)
    cli = tmp_path / "src/demand/cli.py"
    cli.write_text(
        merge_cli(
            head + "\nimport click\n\ncli = click.Group()\n" if not head else head + body + "\ncli = None\n",
            OWN | {"zebra"},
        ).text
    )
    (tmp_path / "pyproject.toml").write_text("[tool.ruff.lint]\nselect = ['I']\n")
    done = run(BIN / "ruff", "check", "--no-cache", "src", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + settings.read_text() + cli.read_text()


def test_a_cli_without_the_group_that_kedro_finds_is_left_to_the_user():
    change = merge_cli("import click\n\n@click.group()\ndef commands(): ...\n", OWN)
    assert change.text.startswith("import click\n\n@click.group()")
    assert not change.additions
    assert "no command group named `cli`" in change.todos[0][1]
    assert "cli.add_command(vertexai)" in merge_cli("import click\ncli = click.Group()\n", OWN).text


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from kedro.extras.datasets.pandas import CSVDataSet", "kedro.extras.datasets.pandas.CSVDataSet is gone: use kedro_datasets."),
        ("import kedro.extras.datasets", "is gone: use kedro_datasets."),
        ("from kedro.config import TemplatedConfigLoader as T", "use kedro.config.OmegaConfigLoader"),
        ("from kedro_vertexai.auth.gcp import X", "Import it from demand.auth or vertexai_mlflow."),
        ("context.catalog.add_feed_dict({})", "context.catalog.add_feed_dict() is gone"),
        ("KedroSession.create('p', env='x')", "takes no package name"),
        ("KedroSession.create(extra_params={})", "use runtime_params"),
        ("@hook_impl\ndef register_catalog(self): ...", "The hook register_catalog is gone"),
        ("node(f, 'a', 'b', tags=['group:one'])", "'group:one': in Kedro 1, names and tags"),
        ("print 'x'", "cannot read this: Missing parentheses"),
    ],
)  # fmt: skip
def test_code_that_kedro_1_does_not_run_is_found(code, message):
    ((line, words),) = find_outdated_code(f"\n{code}\n", "demand", "3.11")
    assert line >= 2
    assert message in words


@pytest.mark.parametrize(
    "code",
    [
        "names.list()",
        "from kedro.io import MemoryDataset",
        "def register_pipelines(): ...",
        "node(f, 'a:b', None, name='x.y-z')",
        "from . import kedro",
        "KedroSession.create(project_path)",
        "KedroSession.create(Path.cwd(), env='x')",
        "KedroSession.create(project_path=path)",
    ],
)
def test_code_that_runs_is_not_reported(code):
    assert find_outdated_code(code, "demand", "3.11") == []


# Syntax of 3.12: an alias of a type, and parameters of a function.
NEWER_SYNTAX = ["type Pair = tuple[int, int]\n", "def first[T](items: list[T]) -> T: ...\n"]


@pytest.mark.parametrize("code", NEWER_SYNTAX)
def test_syntax_that_the_projects_oldest_python_does_not_have_is_found_whichever_python_runs_here(code):
    """The image is built on that Python."""
    message = "Python 3.11, the oldest one that requires-python allows, cannot read this: "
    here = find_outdated_code(f"\n{code}", "demand", "3.11")
    assert [(line, words.startswith(message)) for line, words in here] == [(2, True)]
    script = (
        "import sys; sys.path.insert(0, 'src'); from kedro_vertexai_mlflow.adopt.findings import find_outdated_code; "
        "print(find_outdated_code(sys.argv[1], 'demand', sys.argv[2]))"
    )
    for python, result in (("3.11", f"[(2, '{message}"), ("3.12", "[]"), ("3.13", "[]")):
        done = run(newer_python(), "-c", script, f"\n{code}", python, cwd=ROOT)
        assert done.stdout.startswith(result), done.stdout + done.stderr


def newer_python() -> str:
    """A Python of 3.12 or later, from the path or from pyenv."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += (Path.home() / ".pyenv/versions").glob("3.1[2-9].*/bin")
    for program in [folder / f"python3.{minor}" for folder in folders for minor in (12, 13, 14)]:
        if program.exists() and run(program, "--version", cwd=ROOT).returncode == 0:
            return str(program)
    pytest.fail("There is no Python 3.12 or later here.")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python can read it")
def test_code_for_a_newer_python_than_the_one_that_runs_the_command_is_not_judged(tmp_path):
    pyproject = projects.SPACEFLIGHTS["pyproject.toml"].replace(">=3.10", ">=3.12")
    package = "src/spaceflights/pipelines"
    files = {"pyproject.toml": pyproject, f"{package}/a.py": NEWER_SYNTAX[0], f"{package}/b.py": NEWER_SYNTAX[1]}
    folder = projects.write(projects.SPACEFLIGHTS | files, tmp_path / "spaceflights")
    todos = make_plan(read_project(folder), ROOT, "none").todos
    assert [todo for todo in todos if "a.py" in todo] == [
        f"{package}/a.py, {package}/b.py: not checked, because Python 3.11, which runs this command, lacks this "
        "syntax. If Python 3.12 has it, run the command with the project's Python: uvx --from … --python 3.12 vertexai-adopt"
    ]
    settings = folder / "src/spaceflights/settings.py"
    settings.write_text(f"{settings.read_text()}\n{NEWER_SYNTAX[0]}")
    commit(folder)
    with pytest.raises(
        AdoptError, match=r"settings\.py:9: Python 3\.11, which runs .* cannot read this: .* --python 3\.12"
    ):
        make_plan(read_project(folder), ROOT, "none")


def test_the_upgrading_parts_since_a_version_are_told_newest_first():
    changelog = (
        "# Changelog\n\n## [0.3.0] - x\n\n### Added\n\n- a\n\n### Upgrading\n\n- Do three.\n\n## [0.2.0] - x\n\n### Upgrading\n\n- Do two.\n\n"
        "### Fixed\n\n- b\n\n## [0.1.0] - x\n\n### Upgrading\n\n- Do one.\n"
    )
    assert find_upgrade_notes(changelog, "0.1.0") == [
        "How to upgrade to [0.3.0] - x:\n- Do three.",
        "How to upgrade to [0.2.0] - x:\n- Do two.",
    ]
    assert find_upgrade_notes(changelog, "0.3.0") == []


def test_the_newest_section_of_the_changelog_is_the_version():
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert newest == __version__


SHAPES = {
    "one after the other": '[project]\nname = "p"\ndependencies = ["kedro"]\n{kedro}',
    "dotted keys": '[project]\nname = "p"\ndependencies = ["kedro"]\noptional-dependencies.dev = ["x"]\n{kedro}',
    "dotted keys at the top": 'project.name = "p"\nproject.dependencies = ["kedro"]\n{kedro}',
    "an inline table": '[project]\nname = "p"\ndependencies = ["kedro"]\noptional-dependencies = {{dev = ["x"]}}\n{kedro}',
    "an inline table at the top": 'project = {{name = "p", dependencies = ["kedro"]}}\n{kedro}',
    "an empty inline table": '[project]\nname = "p"\ndependencies = ["kedro"]\noptional-dependencies = {{}}\n{kedro}',
    "extras later": '[project]\nname = "p"\ndependencies = ["kedro"]\n{kedro}[project.optional-dependencies]\ndev = ["x"]\n',
    "another part later": '[project]\nname = "p"\ndependencies = ["kedro"]\n{kedro}[project.urls]\na = "b"\n',
    "extras before": '[project.optional-dependencies]\ndev = ["x"]\n[project]\nname = "p"\ndependencies = ["kedro"]\n{kedro}',
    "another part before": '[project.entry-points."kedro.hooks"]\n[project]\nname = "p"\ndependencies = ["kedro"]\n{kedro}',
    "in three places": '[project]\nname = "p"\ndependencies = ["kedro"]\n[project.scripts]\np = "p:main"\n{kedro}'
    '[project.optional-dependencies]\ndev = ["x"]\n[tool.x]\ny = 1\n[project.entry-points."kedro.hooks"]\n',
    "an empty table": '[project]\nname = "p"\ndependencies = ["kedro"]\n[project.optional-dependencies]\n\n{kedro}',
    "tools with dotted keys": '[project]\nname = "p"\ndependencies = ["kedro"]\n[tool]\nkedro.package_name = "p"\nkedro.kedro_init_version = "1.2.0"\n',
    "no project": "{kedro}",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_extras_are_added_in_whatever_form_toml_allows(shape):
    """Read by another parser than the one that wrote it."""
    theirs = SHAPES[shape].format(kedro=KEDRO)
    before = tomllib.loads(theirs)
    merged = tomllib.loads(merge_pyproject(theirs, OURS, LOCK, {}).text)
    extras = merged["project"]["optional-dependencies"]
    assert {name: len(lines) for name, lines in extras.items() if name != "dev"} == {
        "launch": 8,
        "notebook": 3,
        "viz": 1,
    }
    assert len(extras["dev"]) == 6 + ('["x"]' in theirs)
    for name, value in before.get("project", {}).items():
        if name not in ("dependencies", "optional-dependencies"):
            assert merged["project"][name] == value
    for name, value in before["tool"].items():
        assert merged["tool"][name] == value


LINTERS = {
    "no table": ("", {"ruff": {"extend-exclude": ["src/vertexai_mlflow"], "force-exclude": True}}),
    "a table": ("[tool.ruff]\nline-length = 88\n", {"ruff": {"line-length": 88, "extend-exclude": ["src/vertexai_mlflow"], "force-exclude": True}}),
    "a part of the table": ("[tool.ruff.lint]\nselect = ['F']\n", {"ruff": {"lint": {"select": ["F"]}, "extend-exclude": ["src/vertexai_mlflow"], "force-exclude": True}}),
    "a list": ("[tool.ruff]\nextend-exclude = [\n    'docs',\n]\n", {"ruff": {"extend-exclude": ["docs", "src/vertexai_mlflow"], "force-exclude": True}}),
    "a list on a line": ("[tool.ruff]\nextend-exclude = ['docs']\n", {"ruff": {"extend-exclude": ["docs", "src/vertexai_mlflow"], "force-exclude": True}}),
    "others": (
        "[tool.mypy]\nstrict = true\n[tool.black]\nline-length = 99\n[tool.coverage.run]\nbranch = true\n",
        {
            "ruff": {"extend-exclude": ["src/vertexai_mlflow"], "force-exclude": True},
            "mypy": {"strict": True, "exclude": ["^src/vertexai_mlflow/"]},
            "black": {"line-length": 99, "extend-exclude": "src/vertexai_mlflow"},
            "coverage": {"run": {"branch": True, "omit": ["src/vertexai_mlflow/*"]}},
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LINTERS)
def test_the_users_linters_leave_the_platform_out(name):
    text, expected = LINTERS[name]
    change = exclude_platform("pyproject.toml", text)
    assert tomllib.loads(change.text)["tool"] == expected
    assert exclude_platform("pyproject.toml", change.text).text == change.text
    assert change.todos == []


def test_what_cannot_be_put_in_is_left_to_the_user():
    change = exclude_platform("pyproject.toml", "tool.ruff = {line-length = 88, extend-exclude = 'docs'}\n")
    assert tomllib.loads(change.text)["tool"]["ruff"]["line-length"] == 88
    assert [words for _, words in change.todos] == [
        "[tool.ruff] extend-exclude: leave out src/vertexai_mlflow, which is the template's.",
        "[tool.ruff]: add force-exclude = true, because that folder is the template's.",
    ]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("ruff.toml", "line-length = 88\n", "force-exclude = true\nextend-exclude = [\"src/vertexai_mlflow\"]\nline-length = 88\n"),
        (".flake8", "[flake8]\nmax-line-length = 88\n", "[flake8]\nextend-exclude = src/vertexai_mlflow\nmax-line-length = 88\n"),
        ("setup.cfg", "[metadata]\nname = x\n[mypy]\nstrict = true\n", "[metadata]\nname = x\n[mypy]\nexclude = ^src/vertexai_mlflow/\nstrict = true\n"),
        (".pre-commit-config.yaml", "repos: []\n", "exclude: ^src/vertexai_mlflow/\nrepos: []\n"),
    ],
)  # fmt: skip
def test_linters_with_files_of_their_own_leave_the_platform_out_too(path, text, expected):
    change = exclude_platform(path, text)
    assert change.text == expected
    assert exclude_platform(path, expected).text == expected


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("server:\n  mlflow_tracking_uri: null\n", True),
        ("server:\n  mlflow_tracking_uri:\n", True),
        ("server:\n  mlflow_tracking_uri: mlruns  # here\n", True),
        ("server:\n  mlflow_tracking_uri: https://mlflow.example.com\n", False),
        ("server:\n  mlflow_tracking_uri: ${oc.env:X}\n", False),
    ],
)
def test_a_store_that_mlflow_3_does_not_have_is_replaced(text, uri):
    change = edit_mlflow(text, "demand.auth")
    value = yaml.safe_load(change.text)["server"]["mlflow_tracking_uri"]
    assert (value == '${oc.env:MLFLOW_TRACKING_URI, "sqlite:///mlflow.db"}') == uri
    assert bool(change.replacements) == uri


def test_an_mlflow_yml_of_another_format_is_left_to_the_user():
    ((line, words),) = edit_mlflow("tracking_uri: x\nexperiment: y\n", "demand.auth").todos
    assert (line, "kedro-mlflow 2 reads the keys server" in words) == (1, True)


LOGGING = {
    "Kedro's own": "formatters: {a: {format: x}}\nhandlers: {b: {class: kedro.logging.RichHandler, level: INFO}}\n",
    "of Python": "handlers: {b: {class: logging.StreamHandler}, c: {class: logging.handlers.SocketHandler, host: x, port: 1}}\n",
    "a filter by its class": "filters: {b: {class: logging.Filter}}\n",
    "no () at all": "formatters:\n  a:\n    format: '() of nothing'  # '()': x\n",
    "a factory": "formatters:\n  a:\n    '()': logging.Formatter\n",
    "a factory on one line": 'formatters: {a: {"()": pkg.Formatter, format: x}}\n',
    "a factory without quotes": "filters:\n  a:\n    (): pkg.Filter\n",
    "a factory behind a question mark": "filters:\n  a:\n    ? ()\n    : pkg.Filter\n",
    "a class of another package": "formatters:\n  a:\n    class: pythonjsonlogger.jsonlogger.JsonFormatter\n",
    "a class of Rich": "handlers: {rich: {class: rich.logging.RichHandler}}\n",
    "a class that Kedro has no more": "handlers:\n  a:\n    class: kedro.extras.logging.ColorHandler\n",
    "a class of one's own": "filters: {mine: {class: demand.logging.OnlyMine}}\n",
}


@pytest.mark.parametrize("name", LOGGING)
def test_what_kedro_refuses_in_a_logging_yml_is_left_to_the_user(name):
    """Kedro refuses it when it is imported, so that every command ends, also those that could say why."""
    text = LOGGING[name]
    try:
        LOGGING_OF_KEDRO._validate_logging_config(yaml.safe_load(text))
        refusal = ""
    except ValueError as error:
        refusal = str(error)
    todos = check_logging(text).todos
    assert len(todos) == bool(refusal), refusal
    for line, words in todos:
        key = "()" if "'()' key" in refusal else "class"
        assert key in text.splitlines()[line - 1]
        assert words.startswith(f"Kedro 1.7 refuses {key}")


def test_a_class_that_kedro_refuses_comes_with_the_variable_that_allows_it():
    ((_, words),) = check_logging(LOGGING["a class of another package"]).todos
    assert "KEDRO_LOGGING_MODULE_ALLOWLIST=pythonjsonlogger.jsonlogger" in words
    assert "Dockerfile" in words


def test_the_keys_that_adopt_comments_out_are_those_that_the_settings_leave_out():
    assert {*carried_over._MEANINGLESS, *carried_over.REPLACED} == OBSOLETE_KEYS


DIRECT = "Because p depends on setuptools>=68.0,<69.dev0 and setuptools>=77, we can conclude that your requirements are unsatisfiable."
INDIRECT = (
    "cause: Because google-genai>=1.66.0,<=2.34.0 depends on anyio>=4.8.0 and google-cloud-aiplatform>=2.7.0 depends on "
    "google-genai>=1.66.0,<3.0.0, we can conclude that google-cloud-aiplatform>=2.7.0 depends on anyio>=4.8.0.\n"
    "And because p depends on anyio==3.7 and google-cloud-aiplatform>=2.7, we can conclude that your requirements are unsatisfiable."
)
MISSING = "Because our-tools was not found in the package registry and p depends on our-tools, we can conclude that …"


@pytest.mark.parametrize(
    ("message", "theirs", "line"),
    [
        (DIRECT, "setuptools~=68.0", "setuptools~=68.0"),
        (INDIRECT, "anyio==3.7", "anyio==3.7"),
        (MISSING, "Our_Tools[x]>=1", "Our_Tools[x]>=1"),
    ],
)
def test_the_users_line_is_named_that_cannot_be_resolved(message, theirs, line):
    text = f'[project]\nname = "p"\ndependencies = [\n    "pandas>=2",\n    "{theirs}",\n]\n'
    merged = merge_pyproject(f"{text}\n{KEDRO}", OURS, LOCK, {}).text
    assert find_conflicting_lines(merged, message, text) == [f"pyproject.toml:5: {line}"]


@pytest.fixture
def empty_index(tmp_path, monkeypatch) -> Iterator[None]:
    """A package index that has nothing: every package is like one of the user's company, which the index does not have."""
    (tmp_path / "index").mkdir()
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "index")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.usefixtures("empty_index")
def test_adopt_says_what_cannot_be_resolved_and_leaves_no_lock(tmp_path):
    files = projects.SPACEFLIGHTS | {"requirements.txt": "acme-tools>=1\n"}
    project = read_project(projects.write(files, tmp_path / "spaceflights"))
    plan = make_plan(project, ROOT, "none")
    problem = resolve_locks(project, plan, ROOT)
    first, *_, last = problem.splitlines()
    assert first == "The locks could not be resolved, so `pip install -e '.[launch,dev]'` would fail as well:"
    assert re.search(
        r"\nerror: .*\nYour lines that it names:\n  pyproject\.toml:\d+: acme-tools>=1\n", problem, re.DOTALL
    )
    assert last == "Fix pyproject.toml, and begin with: make -f Makefile lock"
    assert "Dockerfile" not in problem
    assert not {"requirements.lock", "requirements-launch.lock"} & set(plan.files)


@pytest.mark.slow
@pytest.mark.usefixtures("empty_index")
def test_locks_are_resolved_by_the_templates_makefile_also_when_the_project_has_both_already(tmp_path):
    """The second time, neither of them is planned; the project's own Makefile is not run."""
    own = f"lock:\n\ttouch {tmp_path / 'planted'}\n"
    files = projects.SPACEFLIGHTS | {"Makefile": own, "vertexai.mk": own}
    project = read_project(projects.write(files, tmp_path / "spaceflights"))
    plan = make_plan(project, ROOT, "none")
    problem = resolve_locks(project, plan, ROOT)
    assert "No solution found" in problem
    assert problem.endswith("begin with: make -f vertexai.mk lock")
    assert not (tmp_path / "planted").exists()


def planned(folder: Path, **files: str) -> Plan:
    return make_plan(read_project(projects.write(projects.SPACEFLIGHTS | files, folder / "spaceflights")), ROOT, "none")


def with_dynamic(names: str, tables: str) -> dict[str, str]:
    """Spaceflights without requirements in pyproject.toml."""
    text = re.sub(
        r"# What the nodes import\.\ndependencies = \[.*?\n\]\n",
        "",
        projects.SPACEFLIGHTS["pyproject.toml"],
        flags=re.S,
    )
    text = re.sub(r"\[project.optional-dependencies\]\n.*?\n\n", "", text, flags=re.S)
    text = text.replace('dynamic = ["version"]', f'dynamic = ["version", {names}]')
    return {"pyproject.toml": text.replace("[tool.setuptools.dynamic]\n", f"[tool.setuptools.dynamic]\n{tables}")}


@pytest.mark.parametrize(
    ("names", "tables", "group"),
    [
        ('"dependencies"', 'dependencies = {file = "deps/base.txt"}\n', "dependencies"),
        ('"dependencies"', 'dependencies = {file = ["deps/base.txt"]}\n', "dependencies"),
        ('"optional-dependencies"', 'optional-dependencies.docs = {file = ["deps/base.txt"]}\n', "docs"),
    ],
)
def test_requirements_are_read_from_the_files_that_setuptools_reads(names, tables, group, tmp_path):
    plan = planned(tmp_path, **with_dynamic(names, tables), **{"deps/base.txt": "scikit-learn~=1.5\nblack\n"})
    merged = tomllib.loads(plan.files["pyproject.toml"].decode())
    requirements = {"dependencies": merged["project"]["dependencies"], **merged["project"]["optional-dependencies"]}
    assert "scikit-learn~=1.5" in requirements[group]
    assert "black" in requirements["dev" if group == "dependencies" else group]
    assert merged["project"]["dynamic"] == ["version"]
    assert set(merged["tool"]["setuptools"]["dynamic"]) == {"version"}
    assert "deps/base.txt" in plan.removed_files


UNREAD = {
    "environment.yml": "dependencies: [pandas]\n",
    "environment.yaml": "dependencies: [pandas]\n",
    "conda.yml": "dependencies: [pandas]\n",
    "Pipfile": "[packages]\npandas = '*'\n",
    "requirements.in": "pandas\n",
    "requirements-prod.txt": "pandas\n",
    "requirements/base.txt": "pandas\n",
    "src/requirements.in": "pandas\n",
    "setup.py": "from setuptools import setup\nsetup(name='x', install_requires=['pandas'])\n",
    "setup.cfg": "[metadata]\nname = x\n[options]\ninstall_requires =\n    pandas\n",
}


@pytest.mark.parametrize("path", UNREAD)
def test_a_file_with_dependencies_that_is_not_read_is_named(path, tmp_path):
    (todo,) = [todo for todo in planned(tmp_path, **{path: UNREAD[path]}).todos if todo.startswith(path)]
    assert todo == f"{path}: its packages are not read. Add those that the steps import to [project] of pyproject.toml."


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("setup.py", "from setuptools import setup\nsetup(name='x')\n"),
        ("setup.py", "from setuptools import setup\nsetup(install_requires=open('requirements.txt').read().split())\n"),
        ("setup.cfg", "[flake8]\nmax-line-length = 88\n"),
        ("setup.cfg", "[options]\ninstall_requires = file: requirements.txt\n"),
        ("docs/requirements.txt", "sphinx\n"),
    ],
)
def test_a_file_without_dependencies_of_its_own_is_not_named(path, text, tmp_path):
    assert [todo for todo in planned(tmp_path, **{path: text}).todos if "packages are not read" in todo] == []


def test_dynamic_dependencies_of_another_build_backend_are_left_to_the_user(tmp_path):
    files = with_dynamic('"dependencies"', "")
    plan = planned(tmp_path, **files)
    assert (
        "pyproject.toml:9: dynamic dependencies: they are written elsewhere. Add them to [project] dependencies."
        in plan.todos
    )
    assert tomllib.loads(plan.files["pyproject.toml"].decode())["project"]["dynamic"] == ["version"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("[tool.kedro]\n", "tool.kedro.kedro_init_version is missing; only projects of Kedro 0.18, 0.19 or 1"),
        ("[tool.other]\n", "has no table [tool.kedro], so this is not a Kedro project"),
        (
            '[tool.kedro]\nkedro_init_version = "1.2.0"\n',
            "tool.kedro.package_name is missing. Name the package below src",
        ),
        (
            '[tool.kedro]\nkedro_init_version = "1.2.0"\npackage_name = "a"\n',
            "tool.kedro.package_name is a; src/a must exist",
        ),
    ],
)
def test_what_is_missing_in_the_table_of_kedro_is_named(table, message, tmp_path):
    text = projects.SPACEFLIGHTS["pyproject.toml"].partition("[tool.kedro]")[0] + table
    folder = projects.write(projects.SPACEFLIGHTS | {"pyproject.toml": text}, tmp_path / "spaceflights")
    with pytest.raises(AdoptError) as error:
        read_project(folder)
    assert message in str(error.value)
