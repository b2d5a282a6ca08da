"""What ``vertexai-adopt`` reads and merges, text by text, and its tables against the packages that are installed."""

import importlib
import inspect
import re
from contextlib import suppress

import jinja2
import kedro.framework.hooks.specs as specs
import pytest
import tomlkit
from kedro.framework.session import KedroSession
from kedro.io import DataCatalog
from running import ROOT

from kedro_vertexai_mlflow.adopt import kedro1
from kedro_vertexai_mlflow.adopt.code import merge_cli, merge_settings
from kedro_vertexai_mlflow.adopt.configuration import edit_catalog, edit_vertexai, facts
from kedro_vertexai_mlflow.adopt.dependencies import merge_pyproject
from kedro_vertexai_mlflow.adopt.findings import findings
from kedro_vertexai_mlflow.upgrade import _upgrading
from vertexai_mlflow import __version__

TEMPLATE = ROOT / "{{ cookiecutter.repo_name }}"


def exists(name: str) -> bool:
    """Whether a dotted name can be imported."""
    module, _, attribute = name.rpartition(".")
    for wanted, inside in ((name, ""), (module, attribute)):
        with suppress(ImportError, ValueError):
            found = importlib.import_module(wanted)
            if not inside or inside in dir(found):
                return True
    return False


def test_the_tables_name_what_is_gone_and_what_there_is_instead():
    for old, new in kedro1.IMPORTS.items():
        assert not exists(old.removesuffix(".*")), old
        name = re.match(r"[\w.%]+", new)[0].partition(".create")[0]
        assert not name.startswith("kedro") or exists(name), new
    for old, new in kedro1.TYPES.items():
        assert exists(new if new.startswith("kedro") else f"kedro_datasets.{new}"), new
        assert not exists(old if old.startswith("kedro") else f"kedro_datasets.{old}"), old
    for old, new in kedro1.GONE.items():
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
    assert edit_catalog(after, {"mine"}).replaced == []


def test_what_has_no_successor_and_what_is_no_yaml_is_left_to_the_user():
    change = edit_catalog("a:\n  type: tracking.MetricsDataSet\n", set())
    assert change.text == "a:\n  type: tracking.MetricsDataSet\n"
    said = "tracking.MetricsDataSet is gone: use kedro_mlflow.io.metrics.MlflowMetricsHistoryDataset."
    assert change.left == [(2, said)]
    ((line, said),) = edit_catalog("a:\n  b: 1\n{% for x in y %}\n", set()).left
    assert line == 3
    assert "no YAML" in said


def test_keys_without_a_meaning_become_comments_with_all_their_lines():
    text = "project_id: p\nextra: 1\nrun_config:\n  ttl: 3\n  # of the next\n  image: x\n  volume:\n    size: 1\n\n    keep: true\n"
    change = edit_vertexai(text, {"": {"project_id", "run_config"}, "run_config": {"image"}})
    assert change.text == (
        "project_id: p\n# extra: 1\nrun_config:\n#   ttl: 3\n  # of the next\n  image: x\n#   volume:\n#     size: 1\n# \n#     keep: true\n"
    )
    assert [line for line, _ in change.replaced] == [2, 4, 7]


def test_facts_that_are_not_facts_are_not_taken():
    assert facts("project_id: ${oc.env:P}\nregion: '<region>'\nrun_config: {image: gcr.io/p/x, root: b/c}") == {
        "gcp_bucket": "gs://b/c",
        "repo_name": "x",
    }
    assert facts("[") == {}


ANSWERS = {"example": "no", "kedro_version": "1.7.0", "python_package": "p", "project_name": "P", "repo_name": "p"}
OURS = jinja2.Template((TEMPLATE / "pyproject.toml").read_text()).render(cookiecutter=ANSWERS)
LOCK = (TEMPLATE / "requirements.lock").read_text()
KEDRO = '[tool.kedro]\npackage_name = "p"\nkedro_init_version = "1.2.0"\n'


def dependencies(theirs: str, **requirements: str) -> dict[str, str]:
    merged = merge_pyproject(f"{theirs}\n{KEDRO}", OURS, LOCK, requirements)
    found = tomlkit.parse(merged.text).unwrap()["project"]["dependencies"]
    return {re.match(r"[\w-]+", words)[0]: words for words in found}


@pytest.mark.parametrize(
    ("theirs", "merged"),
    [
        ("kedro>=1.2", "kedro>=1.2"),
        ("kedro==1.2.0", "kedro>=1.7,<2"),
        ("kedro[jupyter]~=1.0", "kedro[jupyter]~=1.0"),
        ("kedro-mlflow<2", "kedro-mlflow>=2.0.3,<3"),
        ("kedro-datasets[pandas.CSVDataSet]>=3", "kedro-datasets[pandas.CSVDataSet]>=3"),
        ("pyarrow == 15 ; python_version > '3'", "pyarrow>=18"),
        ("requests~=2.0", "requests~=2.0"),
        ("kedro-airflow==0.5", "kedro-airflow"),
    ],
)
def test_a_requirement_of_the_users_stays_if_it_allows_the_locked_version(theirs, merged):
    name = re.match(r"[\w-]+", theirs)[0]
    assert dependencies(f'[project]\nname = "p"\ndependencies = ["{theirs}"]')[name] == merged


def test_comments_and_other_tables_of_pyproject_stay():
    theirs = f'# Top\n[project]\nname = "p"  # mine\ndependencies = [\n    "a",  # first\n    "b",\n]\n\n{KEDRO}\n[tool.other]\nx = [1,2] # odd\n'
    text = merge_pyproject(theirs, OURS, LOCK, {}).text
    for line in ("# Top\n", 'name = "p"  # mine\n', '    "a",  # first\n', '    "b",\n', "x = [1,2] # odd\n"):
        assert line in text
    assert merge_pyproject(text, OURS, LOCK, {}).text == text


def test_settings_count_in_the_order_kedro_reads_them():
    ours = (TEMPLATE / "src/{{ cookiecutter.python_package }}/settings.py").read_text()
    theirs = (
        '"""Mine."""\nCONFIG_LOADER_ARGS = {"base_env": "b", "merge_strategy": {"parameters": "soft"}}\nHOOKS = ()\n'
    )
    variables: dict = {"__package__": "starter"}
    exec(merge_settings(theirs, ours).text, variables)
    arguments = variables["CONFIG_LOADER_ARGS"]
    assert arguments["base_env"] == "b"
    assert arguments["default_run_env"] == "local"
    assert arguments["merge_strategy"] == {"vertexai": "soft", "parameters": "soft"}
    merged = merge_settings(theirs, ours).text
    assert merge_settings(merged, ours).text == merged


def test_a_cli_without_the_group_that_kedro_finds_is_left_to_the_user():
    change = merge_cli("import click\n\n@click.group()\ndef commands(): ...\n", "")
    assert change.text.startswith("import click\n\n@click.group()")
    assert not change.added
    assert "no group of commands with the name `cli`" in change.left[0][1]
    assert "cli.add_command(vertexai)" in merge_cli("import click\ncli = click.Group()\n", "").text


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("from kedro.extras.datasets.pandas import CSVDataSet", "kedro.extras.datasets.pandas.CSVDataSet is gone: use kedro_datasets."),
        ("import kedro.extras.datasets", "is gone: use kedro_datasets."),
        ("from kedro.config import TemplatedConfigLoader as T", "use kedro.config.OmegaConfigLoader"),
        ("from kedro_vertexai.auth.gcp import X", "Import it from demand.auth or demand.vertexai."),
        ("context.catalog.add_feed_dict({})", "context.catalog.add_feed_dict() is gone"),
        ("KedroSession.create('p', env='x')", "takes no package name"),
        ("KedroSession.create(extra_params={})", "use runtime_params"),
        ("@hook_impl\ndef register_catalog(self): ...", "The hook register_catalog is gone"),
        ("node(f, 'a', 'b', tags=['group:one'])", "'group:one': names and tags"),
        ("print 'x'", "no Python of today"),
    ],
)  # fmt: skip
def test_code_that_kedro_1_does_not_run_is_found(code, said):
    ((line, words),) = findings(f"\n{code}\n", "demand")
    assert line >= 2
    assert said in words


@pytest.mark.parametrize(
    "code",
    [
        "names.list()",
        "from kedro.io import MemoryDataset",
        "def register_pipelines(): ...",
        "node(f, 'a:b', None, name='x.y-z')",
        "from . import kedro",
    ],
)
def test_code_that_runs_is_not_reported(code):
    assert findings(code, "demand") == []


def test_the_upgrading_parts_since_a_version_are_told_newest_first():
    changelog = (
        "# Changelog\n\n## [0.3.0] - x\n\n### Added\n\n- a\n\n### Upgrading\n\n- Do three.\n\n## [0.2.0] - x\n\n### Upgrading\n\n- Do two.\n\n"
        "### Fixed\n\n- b\n\n## [0.1.0] - x\n\n### Upgrading\n\n- Do one.\n"
    )
    assert _upgrading(changelog, "0.1.0") == [
        "What [0.3.0] - x asks of a project:\n- Do three.",
        "What [0.2.0] - x asks of a project:\n- Do two.",
    ]
    assert _upgrading(changelog, "0.3.0") == []


def test_the_newest_section_of_the_changelog_is_the_version():
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert newest == __version__
