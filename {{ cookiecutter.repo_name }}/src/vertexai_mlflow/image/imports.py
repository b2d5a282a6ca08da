"""Which other packages a project's modules import, by their text. Nothing is imported."""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def own_modules(source: Path) -> Iterator[Path]:
    """The modules below the project's ``src``, without the platform's and without tests."""
    platform = Path(__file__).parents[1].name
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).parts
        if "tests" not in parts and parts[0] != platform:
            yield path


def imports_of(file: Path, in_functions: bool = False) -> set[str]:
    """The modules that a module needs. Imports that may fail, and those for type checkers only, do not count.

    Args:
        file: the module.
        in_functions: whether imports inside functions count as well.
    """
    with suppress(SyntaxError, UnicodeDecodeError):  # importing the module will report it
        return set(_imported(ast.parse(file.read_text(encoding="utf-8")), in_functions))
    return set()


def _imported(node: ast.AST, in_functions: bool) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
        elif (in_functions or not isinstance(child, _FUNCTIONS)) and not _is_optional(child):
            yield from _imported(child, in_functions)


def _is_optional(node: ast.AST) -> bool:
    if isinstance(node, ast.Try):
        errors = {name for handler in node.handlers for name in _words(handler.type or ast.Name("Exception"))}
        return not errors.isdisjoint({"ImportError", "ModuleNotFoundError", "Exception"})
    return isinstance(node, ast.If) and not _words(node.test).isdisjoint({"TYPE_CHECKING", "version_info"})


def _words(node: ast.AST) -> set[str]:
    return set(re.findall(r"\w+", ast.unparse(node)))
