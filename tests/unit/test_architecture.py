"""The modules' one direction, and each third-party world's one door, as docs/explanation shows."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "in_place/starter"
VERTEXAI = PACKAGE / "vertexai"
MODULES = {path.stem: ast.parse(path.read_text()) for path in VERTEXAI.glob("*.py")}
# One layer of their own, above all but the group they are in.
MODULES["commands"] = ast.Module(
    [node for path in (VERTEXAI / "commands").glob("*.py") for node in ast.parse(path.read_text()).body], []
)

# A module imports only from lines above its own.
LAYERS = [
    {"__init__", "errors", "job"},
    {"params", "config", "catalog", "spec", "artifact", "tracking", "hosts", "deadline", "processes"},
    {"resources", "lineage", "runner", "cache", "executor", "request", "progress", "docker"},
    {"grouping", "step", "local"},
    {"plan"},
    {"compiler", "refusals", "render", "runs", "logs", "schedules"},
    {"client", "project"},
    {"doctor"},
    {"doctor_online"},
    {"commands"},
    {"cli"},
]
DOORS = {
    "pydantic": {"config"},
    "cronsim": {"schedules"},
    "kfp": {"compiler"},
    "google.cloud": {"client"},
    "google.api_core": {"client", "refusals"},
    "kedro.framework.session": {"step", "runs"},
    "fsspec": {"artifact"},
    "cloudpickle": {"artifact"},
    "mlflow": {"tracking"},
    "click": {"cli", "commands"},
    "rich": {"commands", "progress", "render"},
    "packaging": {"doctor"},
    "subprocess": {"docker", "local", "processes"},
    "pyarrow": {"artifact"},
}


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names


def siblings(module: str) -> set[str]:
    """The modules of ``vertexai`` that one of them imports."""
    found: set[str] = set()
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.ImportFrom) and node.level == (2 if module == "commands" else 1):
            names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
            found |= set(names)
    return found


def test_every_module_has_a_layer():
    assert set(MODULES) == set.union(*LAYERS)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module):
    layer = next(number for number, names in enumerate(LAYERS) if module in names)
    below = set().union(*LAYERS[:layer])
    assert siblings(module) <= below


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_enters_by_its_door_only(library):
    users = {
        module
        for module, tree in MODULES.items()
        if any(name == library or name.startswith(f"{library}.") for name in imported(tree))
    }
    assert users == DOORS[library]


def test_google_auth_enters_by_auth_and_auth_knows_nothing_of_vertexai():
    trees = {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    users = {
        str(path) for path, tree in trees.items() if any(name.startswith("google.auth") for name in imported(tree))
    }
    assert users == {"auth/credentials.py", "auth/gcp.py"}
    for path, tree in trees.items():
        if path.parts[0] == "auth":
            upwards = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level > 1]
            assert upwards == []


def test_the_step_needs_nothing_of_the_launcher():
    reached, todo = set(), {"step"}
    while todo:
        module = todo.pop()
        reached.add(module)
        todo |= siblings(module) - reached
    assert reached.isdisjoint({"client", "compiler", "commands", "cli", "render", "local", "project", "request"})


def test_no_python_of_the_template_has_jinja_in_it():
    project = Path(__file__).parents[2] / "{{ cookiecutter.repo_name }}"
    for path in project.rglob("*.py"):
        text = path.read_text()
        ast.parse(text)
        assert "{{ cookiecutter" not in text
        assert "{%" not in text
