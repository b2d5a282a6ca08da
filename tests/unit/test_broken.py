"""What is broken in a project's own code or configuration is named with its place."""

import importlib
import re
import sys
from pathlib import Path

import kedro.framework.project as kedro_project
import pytest
from kedro.config import OmegaConfigLoader
from omegaconf.resolvers import oc

from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.errors import UserError, in_own_code
from vertexai_mlflow.settings.load_errors import explain

pytestmark = pytest.mark.filterwarnings("ignore:register_new_resolver:UserWarning")
GOOD = "from kedro.pipeline import Pipeline\nfrom . import nodes\n\n\ndef create_pipeline():\n    return Pipeline([])\n"


@pytest.fixture
def find_pipelines(tmp_path, monkeypatch):
    """What Kedro's own search raises in a package with one pipeline, and the folder ``src``."""

    def find_pipelines(init: str, nodes: str = "") -> tuple[Exception, Path]:
        package = tmp_path / "src/shop"
        pipeline = package / "pipelines/sales"
        pipeline.mkdir(parents=True)
        (pipeline / "__init__.py").write_text(init)
        (pipeline / "nodes.py").write_text(nodes)
        registry = "from kedro.framework.project import find_pipelines\n\n\ndef register():\n    return find_pipelines(raise_errors=True)\n"
        (package / "registry.py").write_text(registry)
        monkeypatch.syspath_prepend(package.parent)
        monkeypatch.setattr(kedro_project, "PACKAGE_NAME", "shop")
        with pytest.raises(Exception) as raised:
            importlib.import_module("shop.registry").register()
        return raised.value, package.parent

    yield find_pipelines
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("init", "nodes", "message"),
    [
        (GOOD, "a = 1\nb = undefined\n", "pipelines/sales/nodes.py, line 2: NameError: name 'undefined' is not defined"),
        (GOOD, "import no_such_module\n", "pipelines/sales/nodes.py, line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        (GOOD, "a = 1\n\ndef f(:\n", "pipelines/sales/nodes.py, line 3: SyntaxError: invalid syntax"),
        (GOOD, "def f():\n    a = 1\n  b = 2\n", "pipelines/sales/nodes.py, line 3: IndentationError: unindent does not match any outer indentation level"),
        (GOOD, "raise ImportError('this needs a GPU') from OSError('none')\n", "pipelines/sales/nodes.py, line 1: ImportError: this needs a GPU"),
        (GOOD, "import json\njson.loads('{')\n", "pipelines/sales/nodes.py, line 2: JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (GOOD.replace("[]", "nodes.made()"), "def made():\n    return 1 / 0\n", "pipelines/sales/nodes.py, line 2: ZeroDivisionError: division by zero"),
        ("x = [\n", "", "pipelines/sales/__init__.py, line 1: SyntaxError: '[' was never closed"),
    ],
)  # fmt: skip
def test_broken_code_is_named_with_file_line_and_pipeline(find_pipelines, init, nodes, message):
    error, source = find_pipelines(init, nodes)
    assert in_own_code(error, source) == f"src/shop/{message} (pipeline module shop.pipelines.sales)"


def test_a_pipeline_that_kedro_cannot_create_gets_the_cure(find_pipelines):
    error, source = find_pipelines("def create_pipeline(model_types):\n    pass\n")
    assert in_own_code(error, source) == (
        "src/shop/registry.py, line 5: TypeError: create_pipeline() missing 1 required positional argument: 'model_types' "
        "(pipeline module shop.pipelines.sales). Kedro calls create_pipeline without arguments, so give each of them a default."
    )


def explained(root: Path, params: dict | None = None, **files: str) -> str:
    """What is said of ``conf/base/<name>.yml``, of which Kedro's loader cannot make a catalog."""
    base = root / "conf/base"
    base.mkdir(parents=True)
    for name, text in files.items():
        (base / f"{name}.yml").write_bytes(text.encode("latin-1"))
    with pytest.raises(Exception) as raised:
        OmegaConfigLoader(
            str(root / "conf"), base_env="base", default_run_env="base", custom_resolvers={"oc.env": oc.env}
        )["catalog"]
    return explain(raised.value, sorted(base.iterdir()), root)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"catalog": "a: {type: x\nb: y: z\n"}, "conf/base/catalog.yml, line 2: <why>."),
        ({"catalog": "a: 1\nb: *nobody\n"}, "conf/base/catalog.yml, line 2: <why>."),
        ({"catalog": "a: {}\n\na: {}\n"}, "conf/base/catalog.yml, line 3: <why>."),
        (
            {"catalog": "\ta: 1\n", "globals": "b: ]\n"},
            "conf/base/catalog.yml, line 1: <why>. conf/base/globals.yml, line 1: <why>.",
        ),
        ({"catalog": "a: \xff\n"}, "conf/base/catalog.yml: <why>"),
        ({"catalog": "- a\n"}, "conf/base/catalog.yml: expected a mapping of names to values."),
        (
            {"catalog": "a: {filepath: '${runtime_params:day}.csv'}\n", "catalog_b": "b: {}\n"},
            "conf/base/catalog.yml: a.filepath needs the runtime parameter 'day'; give it with --params day=…",
        ),
        (
            {"catalog": "a: {}\n", "catalog_b": "x.b:\n  paths: ['${globals:bucket}/b']\n"},
            "conf/base/catalog_b.yml: x.b.paths[0] refers to 'bucket' of globals.yml, which does not exist. Add it there.",
        ),
        ({"catalog": "a: {filepath: '${_bucket}/a'}\n"}, "conf/base/catalog.yml: a.filepath: <why>'_bucket'<why>"),
        ({"catalog": "a: {filepath: '${nosuch:x}'}\n"}, "conf/base/catalog.yml: a.filepath: <why> nosuch"),
        (
            {"catalog": "a: {filepath: '${oc.env:NO_SUCH_VARIABLE}'}\n"},
            "conf/base/catalog.yml: a.filepath: <why>'NO_SUCH_VARIABLE'<why>",
        ),
    ],
)  # fmt: skip
def test_configuration_that_cannot_be_read_is_named_with_its_place(tmp_path, files, message):
    """What a library says about it is ``<why>`` here."""
    assert re.fullmatch(".+".join(map(re.escape, message.split("<why>"))), explained(tmp_path, **files))


def test_a_key_in_two_files_is_named_with_both(tmp_path):
    message = explained(tmp_path, catalog="a: {}\nb: {}\n", catalog_2="b: {}\na: {}\n")
    assert message.endswith(": a, b. Keep one of them.")
    assert all(f"conf/base/{name}.yml" in message for name in ("catalog", "catalog_2"))


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"a": "data/a.csv"}, "catalog.yml: Catalog entry 'a' is not a valid dataset configuration."),
        ({"{x}_a": {"filepath": "{y}.csv"}}, "catalog.yml: .*{y}.* should present in the dataset pattern name {x}_a"),
        ({"{x}": {}, "{y}": {}}, "catalog.yml: Multiple catch-all patterns found in the catalog: {x}, {y}"),
    ],
)
def test_a_catalog_that_kedro_refuses_is_refused(config, sentence):
    with pytest.raises(UserError, match=sentence):
        Catalog(config, "catalog.yml")
