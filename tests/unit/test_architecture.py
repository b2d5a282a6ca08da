"""Folders say where the code runs, imports go one way, and each third-party library enters by one door.

docs/explanation/how-it-works.md shows the same picture, and a test here compares the two.
"""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest
from running import PLATFORM

ROOT = Path(__file__).parents[2]
PACKAGE = PLATFORM
TREES = {path.relative_to(PACKAGE): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}

# A room is a folder, or a module beside the folders. Each line is a rule: what a room may import.
MAY_IMPORT = {
    "errors": set(),
    "git": set(),
    "whole_file": set(),
    "guard": {"errors"},
    "seal": {"git", "guard"},
    "upgrade": {"errors", "seal"},
    "auth": {"errors", "contract"},
    "notify": {"errors", "auth", "contract"},
    "kedro_settings": {"auth"},
    "infra": {"errors", "contract", "git", "whole_file"},
    "cli": {"errors", "guard"},
    "contract": {"errors", "whole_file"},
    "settings": {"errors", "auth", "contract"},
    "image": {"errors", "git"},
    "grouping": {"errors", "settings"},
    "project": {"errors", "contract", "settings"},
    "markdown": {"errors"},
    "tracking": {"errors", "auth", "contract", "markdown", "page"},
    "page": {"errors", "contract"},
    "step": {"errors", "auth", "contract", "guard", "notify", "tracking"},
    "compile": {"errors", "contract", "settings", "grouping", "project"},
    "local": {"errors", "contract", "image", "compile", "whole_file"},
    "cloud": {"errors", "auth", "contract", "settings", "compile", "whole_file"},
    "show": {"errors", "contract", "compile", "markdown"},
    "checks": {
        "errors", "auth", "contract", "settings", "tracking", "image", "project", "compile", "cloud", "seal",
    },
    "commands": {
        "errors", "auth", "contract", "tracking", "page", "git", "image", "project", "compile", "local", "cloud", "show",
        "checks", "infra", "markdown", "notify", "whole_file",
    },
}  # fmt: skip
# The rooms that may import a library.
DOORS = {
    "click": {"cli", "commands", "show"},
    "cloudpickle": {"step"},
    "cronsim": {"cloud"},
    "docker": {"image"},
    # The step carries files between disks and artifacts; `upload-data`, in cloud, copies files to the bucket; uploaded code
    # is fetched before there is a step.
    "fsspec": {"cloud", "contract", "step"},
    "google.api_core": {"cloud"},
    "google.auth": {"auth"},
    "google.cloud": {"cloud"},
    "kedro.framework.session": {"step", "tracking"},
    "kfp": {"compile"},
    "mlflow": {"auth", "step", "tracking"},
    "packaging": {"checks"},
    "pyarrow": {"step"},
    "pydantic": {"settings"},
    "rich": {"commands", "show"},
    # `plans` asks another checkout of the project, whose code only a process of its own can import.
    "subprocess": {"commands", "git", "image", "infra", "local", "upgrade"},
}


def room_of(path: Path) -> str:
    """``step/artifact.py`` → ``step``, ``project.py`` → ``project``"""
    return path.with_suffix("").parts[0]


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
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1] / (node.module or "").replace(".", "/")
            for name in [alias.name for alias in node.names]:
                below = base / name
                is_module = (PACKAGE / f"{below}.py").exists() or (PACKAGE / below).is_dir()
                imported.add(below if is_module else base)
    return imported


ARROWS: dict[str, set[str]] = defaultdict(set)
for path, tree in TREES.items():
    for other in siblings(path, tree):
        if other != Path() and room_of(other) != room_of(path):
            ARROWS[room_of(path)].add(room_of(other))
ROOMS = sorted({room_of(path) for path in TREES} - {"__init__"})


def test_every_room_has_a_rule():
    assert set(ROOMS) == set(MAY_IMPORT)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_its_rule_allows(room):
    assert ARROWS[room] <= MAY_IMPORT[room]


def test_no_room_imports_the_step():
    assert [room for room in ROOMS if "step" in ARROWS[room]] == []


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
    }
    assert users == DOORS[library]


def test_a_step_runs_without_the_launchers_modules():
    reached, todo = set(), {"step"}
    while todo:
        room = todo.pop()
        reached.add(room)
        todo |= ARROWS[room] - reached
    assert reached == {
        "step",
        "contract",
        "tracking",
        "auth",
        "errors",
        "guard",
        "markdown",
        "notify",
        "page",
        "whole_file",
    }


def test_the_picture_in_the_docs_is_the_tree():
    text = (ROOT / "docs/explanation/how-it-works.md").read_text()
    picture = text.partition("<!-- picture:begin -->")[2].partition("<!-- picture:end -->")[0]
    shown = set(re.findall(r"^  ([\w/]+(?:\.py|/))", picture, re.MULTILINE))
    assert shown == {f"{room}/" if (PACKAGE / room).is_dir() else f"{room}.py" for room in ROOMS}


def test_the_platform_has_one_name_everywhere():
    """``python -m vertexai_mlflow.step`` is the same in every project, so nothing asks how its package is called."""
    assert [str(path) for path, tree in TREES.items() if "__package__" in ast.unparse(tree)] == []


def test_no_python_file_of_the_template_has_jinja_in_it():
    for path in (ROOT / "{{ cookiecutter.repo_name }}").rglob("*.py"):
        text = path.read_text()
        ast.parse(text)
        assert "{{ cookiecutter" not in text
        assert "{%" not in text
