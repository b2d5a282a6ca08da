"""doctor compares what modules and datasets import with what the image is built from."""

import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from kedro_datasets.pandas import CSVDataset

from vertexai_mlflow.checks import lock as locks
from vertexai_mlflow.contract.check import Doubt
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.image.imports import imports_of, own_modules

CLICK, CRONSIM, PANDAS = (f'"{name}>={version(name)}"' for name in ("click", "cronsim", "pandas"))
IN_LOCK = "kedro==1\nkedro-datasets==9\nfsspec==1\npandas==2\npyyaml==6\nsome-tool==1\n"


@pytest.fixture(scope="module", autouse=True)
def installed_packages_are_listed_once() -> Iterator[None]:
    """Nothing is installed meanwhile, and listing which package has which module takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(locks, "packages_distributions", cache(packages_distributions))
        yield


@pytest.fixture
def check(tmp_path, monkeypatch):
    """The check in a project with this module, which the pipelines have imported unless ``loaded`` says otherwise."""

    def check(text: str, lock: str = IN_LOCK, declared: str = "", classes=(), loaded: bool = True) -> str:
        nodes = tmp_path / "src/shop/pipelines/sales/nodes.py"
        nodes.parent.mkdir(parents=True)
        nodes.write_text(text)
        (tmp_path / "requirements.lock").write_text(lock)
        (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'shop'\ndependencies = [{declared}]\n")
        if loaded:
            module = ModuleType("shop.pipelines.sales.nodes")
            module.__file__ = str(nodes)
            monkeypatch.setitem(sys.modules, module.__name__, module)
        project = SimpleNamespace(path=tmp_path, source=tmp_path / "src")
        return locks.check_lock(project, {f"catalog.yml: {class_.__name__}": class_ for class_ in classes})

    return check


@pytest.mark.parametrize(
    "text",
    [
        "import json, pandas.io\nfrom os import path\nimport shop.other\nfrom . import nodes\nimport yaml",
        "try:\n    import click\nexcept ImportError:\n    click = None",
        "try:\n    import click\nexcept (KeyError, ModuleNotFoundError):\n    import cronsim",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import click",
        "import sys\nif sys.version_info < (3, 11):\n    import tomli",
        "import some_tool",
        "def broken(:",
    ],
)
def test_what_the_lock_has_or_python_or_nobody_needs_is_in_order(check, text):
    assert check(text) == "6 packages for the image"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("import click.testing", [CLICK]),
        ("from click import echo\nimport cronsim as c", [CLICK, CRONSIM]),
        ("def f():\n    if True:\n        import click", [CLICK]),
        ("class A:\n    def f(self):\n        from cronsim import CronSim", [CRONSIM]),
        ("try:\n    import click\nexcept KeyError:\n    pass", [CLICK]),
        ("try:\n    pass\nfinally:\n    import click", [CLICK]),
        ("import no_such_module.x", ['"no-such-module", or whatever the package of this module is called']),
    ],
)
def test_what_the_lock_lacks_is_named_with_the_line_to_add_and_the_module(check, text, lines):
    where = Path("src/shop/pipelines/sales/nodes.py")
    with pytest.raises(UserError) as error:
        check(text)
    shown = "; ".join(f"{line} ({where})" for line in lines)
    assert str(error.value) == (
        f"requirements.lock lacks what is imported. Add to pyproject.toml's dependencies: {shown}. Then: make lock"
    )


def test_a_module_that_no_pipeline_imports_needs_nothing(check):
    assert check("import click", loaded=False) == "6 packages for the image"


def test_what_is_declared_and_not_locked_is_said_once(check):
    with pytest.raises(UserError) as error:
        check("import click, cronsim", declared="'click>=8'")
    assert "requirements.lock lacks what pyproject.toml asks for: click>=8. make lock" in str(error.value)
    assert f"Add to pyproject.toml's dependencies: {CRONSIM} (src" in str(error.value)
    assert CLICK not in str(error.value)


@pytest.mark.parametrize(
    ("extra", "hint"),
    [
        ("matplotlib-matplotlibwriter", " Did you mean 'matplotlib-matplotlibdataset'?"),
        ("pandas-csvdatset", " Did you mean 'pandas-csvdataset'?"),
    ],
)
def test_an_extra_that_a_package_does_not_have_is_a_doubt(check, extra, hint):
    """uv only warns, and `make lock` does not show it."""
    with pytest.raises(Doubt) as doubt:
        check("", declared=f"'kedro-datasets[pandas-jsondataset,{extra}]'")
    place = (
        f"pyproject.toml: kedro-datasets[{extra}]: kedro-datasets {version('kedro-datasets')} has no such extra, so it"
    )
    assert str(doubt.value) == f"{place} installs nothing.{hint}"


def test_an_extra_may_be_written_in_another_way_and_of_a_package_that_is_not_installed_nothing_is_known(check):
    declared = "'kedro-datasets[pandas.CSVDataset,Pandas_JSONDataset]', 'some-tool[x]'"
    assert check("", declared=declared) == "6 packages for the image"


def test_what_datasets_import_is_locked_too_and_an_extra_is_named_where_there_is_one(check):
    extra = f'"kedro-datasets[pandas-csvdataset]>={version("kedro-datasets")}" (catalog.yml: CSVDataset)'
    with pytest.raises(UserError) as error:
        check("", lock="kedro==1\nkedro-datasets==9\n", classes=[CSVDataset])
    assert extra in str(error.value)
    assert f'"fsspec>={version("fsspec")}" (catalog.yml: CSVDataset)' in str(error.value)


def test_the_platforms_modules_and_tests_are_not_the_projects_own(tmp_path):
    for name in (
        "vertexai_mlflow/auth/a.py",
        "shop/auth/b.py",
        "shop/tests/c.py",
        "shop/pipelines/auth/d.py",
        "shop/e.py",
        "f.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("import x\ndef f():\n    import y")
    modules = [str(path.relative_to(tmp_path)) for path in own_modules(tmp_path)]
    assert modules == ["f.py", "shop/auth/b.py", "shop/e.py", "shop/pipelines/auth/d.py"]
    assert imports_of(tmp_path / "f.py") == {"x"}
    assert imports_of(tmp_path / "f.py", in_functions=True) == {"x", "y"}


def test_a_lock_that_differs_from_that_of_uv_is_named(check, tmp_path):
    lock = tmp_path / "uv.lock"
    versions = {"kedro": "1", "kedro-datasets": "9", "fsspec": "1", "pandas": "3", "pyyaml": "6", "some-tool": "1"}
    lock.write_text("".join(f'[[package]]\nname = "{name}"\nversion = "{pin}"\n' for name, pin in versions.items()))
    with pytest.raises(UserError, match=r"^requirements\.lock has what uv\.lock has not: pandas==2\. make lock$"):
        check("import json")


def test_what_only_the_image_of_an_extra_has_is_not_missing(check, tmp_path):
    (tmp_path / "requirements-launch.lock").write_text("cronsim==1\n")
    (tmp_path / "requirements-gpu.lock").write_text("click==1\n")
    with pytest.raises(UserError) as error:
        check("def train():\n    import click, cronsim")
    assert CRONSIM in str(error.value)
    assert CLICK not in str(error.value)
