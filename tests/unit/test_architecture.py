"""Folders say where the code runs, imports go one way, and each third-party library enters by one door.

docs/explanation/how-it-works.md shows the same picture, and a test here compares the two.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parents[1] / "in_place/starter"
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}

# A room is a folder, or a module beside the folders. Each line is a rule: what a room may import.
MAY_IMPORT = {
    "errors": set(),
    "auth": {"errors"},
    "settings": {"auth"},
    "cli": {"vertexai.cli"},
    "vertexai.cli": {"errors"},
    "vertexai.contract": {"errors"},
    "vertexai.settings": {"errors"},
    "vertexai.image": {"errors"},
    "vertexai.grouping": {"errors", "settings"},
    "vertexai.project": {"errors", "contract", "settings"},
    "vertexai.tracking": {"errors", "contract"},
    "vertexai.step": {"errors", "auth", "contract", "tracking"},
    "vertexai.compile": {"errors", "contract", "settings", "grouping", "project"},
    "vertexai.local": {"errors", "contract", "image", "compile"},
    "vertexai.cloud": {"errors", "auth", "contract", "settings", "compile"},
    "vertexai.show": {"errors", "contract", "compile"},
    "vertexai.checks": {"errors", "contract", "tracking", "image", "project", "compile", "cloud"},
    "vertexai.commands": {
        "errors", "auth", "contract", "tracking", "image", "project", "compile", "local", "cloud", "show", "checks",
    },
}  # fmt: skip
# The rooms that may import a library.
DOORS = {
    "click": {"cli", "vertexai.cli", "vertexai.commands", "vertexai.show"},
    "cloudpickle": {"vertexai.step"},
    "cronsim": {"vertexai.cloud"},
    "docker": {"vertexai.image"},
    # The step carries files between disks and artifacts; `upload-data`, in cloud, copies files to the bucket; uploaded code
    # is fetched before there is a step.
    "fsspec": {"vertexai.cloud", "vertexai.contract", "vertexai.step"},
    "google.api_core": {"vertexai.cloud"},
    "google.auth": {"auth"},
    "google.cloud": {"vertexai.cloud"},
    "kedro.framework.session": {"vertexai.step", "vertexai.tracking"},
    "kfp": {"vertexai.compile"},
    "mlflow": {"auth", "vertexai.step", "vertexai.tracking"},
    "packaging": {"vertexai.checks"},
    "pyarrow": {"vertexai.step"},
    "pydantic": {"vertexai.settings"},
    "rich": {"vertexai.commands", "vertexai.show"},
    "subprocess": {"vertexai.image", "vertexai.local"},
}
# These modules belong to Kedro or to the user, and no rule is about them.
THE_USERS = ("__init__", "__main__", "pipeline_registry", "pipelines")


def room_of(path: Path) -> str:
    """``vertexai/step/artifact.py`` → ``vertexai.step``, ``vertexai/project.py`` → ``vertexai.project``"""
    parts = path.with_suffix("").parts
    depth = 2 if parts[0] == "vertexai" else 1
    return ".".join(parts[:depth])


def imported(tree: ast.AST) -> set[str]:
    """The modules of other packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
    return names


def siblings(path: Path, tree: ast.AST) -> set[Path]:
    """The modules and folders of this package that a module imports, as paths."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1] / (node.module or "").replace(".", "/")
            for name in [alias.name for alias in node.names]:
                below = base / name
                is_module = (PACKAGE / f"{below}.py").exists() or (PACKAGE / below).is_dir()
                found.add(below if is_module else base)
    return found


ARROWS: dict[str, set[str]] = defaultdict(set)
for path, tree in TREES.items():
    for other in siblings(path, tree):
        if room_of(other) != room_of(path):
            ARROWS[room_of(path)].add(room_of(other))
ROOMS = sorted({room_of(path) for path in TREES} - set(THE_USERS) - {"vertexai.__init__"})


def test_every_room_has_a_rule():
    assert set(ROOMS) == set(MAY_IMPORT)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_rule_allows(room):
    allowed = {name if name in ("errors", "auth", "vertexai.cli") else f"vertexai.{name}" for name in MAY_IMPORT[room]}
    assert ARROWS[room] <= allowed


def test_no_room_imports_the_step():
    assert [room for room in ROOMS if "vertexai.step" in ARROWS[room]] == []


def test_rooms_do_not_import_each_other_in_a_circle():
    done: list[str] = []
    while left := [room for room in ROOMS if room not in done]:
        free = [room for room in left if ARROWS[room] <= set(done)]
        assert free, f"these import each other in a circle: {left}"
        done += free


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_is_imported_by_its_rooms_only(library):
    users = {
        room_of(path)
        for path, tree in TREES.items()
        if any(name == library or name.startswith(f"{library}.") for name in imported(tree))
        and not room_of(path).startswith(THE_USERS)
    }
    assert users == DOORS[library]


def test_a_step_runs_without_the_launchers_modules():
    reached, todo = set(), {"vertexai.step"}
    while todo:
        room = todo.pop()
        reached.add(room)
        todo |= ARROWS[room] - reached
    assert reached == {"vertexai.step", "vertexai.contract", "vertexai.tracking", "auth", "errors"}


def test_the_package_stays_small_enough_to_find_ones_way():
    """There are few rooms and few imports between them, no folder has many modules, and no module is long."""
    assert len(ROOMS) <= 22
    assert sum(len(arrows) for arrows in ARROWS.values()) <= 52
    for folder in {path.parent for path in TREES}:
        modules = [path for path in TREES if path.parent == folder and path.name != "__init__.py"]
        assert len(modules) <= 9 or folder.name == "commands", folder
    long = {str(path): lines for path in TREES if (lines := len((PACKAGE / path).read_text().splitlines())) > 270}
    assert long == {}


def test_the_picture_in_the_docs_is_the_tree():
    text = (ROOT / "docs/explanation/how-it-works.md").read_text()
    picture = text.partition("<!-- picture:begin -->")[2].partition("<!-- picture:end -->")[0]
    shown = set(re.findall(r"^\s*(?:src/<package>/)?([\w/]+(?:\.py|/))", picture, re.MULTILINE))
    folder = "vertexai/"
    expected = {"errors.py", "auth/", folder}
    for room in ROOMS:
        if room.startswith("vertexai."):
            name = room.removeprefix("vertexai.")
            expected.add(f"{name}/" if (PACKAGE / "vertexai" / name).is_dir() else f"{name}.py")
    assert shown == expected


def test_no_python_file_of_the_template_has_jinja_in_it():
    for path in (ROOT / "{{ cookiecutter.repo_name }}").rglob("*.py"):
        text = path.read_text()
        ast.parse(text)
        assert "{{ cookiecutter" not in text
        assert "{%" not in text
