"""A module → the places that use what Kedro 1 no longer has, each with what to write instead."""

import ast
import re
import sys
from collections.abc import Iterator

from .kedro1 import ARGUMENTS, CATALOG_METHODS, HOOK_ARGUMENTS, HOOKS, IMPORTS, NAMES

Finding = tuple[int, str]


def findings(text: str, package: str) -> list[Finding]:
    """Return line number and sentence for each place.

    Args:
        text: the module.
        package: the project's package, where the parts of kedro-vertexai are now.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        python = ".".join(map(str, sys.version_info[:2]))
        return [(error.lineno or 0, f"Python {python}, which runs this command, cannot read this: {error.msg}.")]
    found: list[Finding] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                found += _imported(node.lineno, f"{node.module}.{alias.name}", package)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found += _imported(node.lineno, alias.name, package)
        elif isinstance(node, ast.FunctionDef):
            found += _hook(node)
        elif isinstance(node, ast.Call):
            found += _call(node)
    return sorted(set(found))


def _imported(line: int, name: str, package: str) -> Iterator[Finding]:
    if name.split(".")[0] == "kedro_vertexai":
        yield line, f"{name}: the plugin is not used any more. Import it from {package}.auth or vertexai_mlflow."
        return
    parts = name.split(".")
    patterns = [name, *(".".join([*parts[:depth], "*"]) for depth in range(len(parts), 1, -1))]
    if old := next((pattern for pattern in patterns if pattern in IMPORTS), None):
        yield line, f"{name} is gone: use {IMPORTS[old]}."


def _hook(function: ast.FunctionDef) -> Iterator[Finding]:
    if not any(ast.unparse(decorator).endswith("hook_impl") for decorator in function.decorator_list):
        return
    if instead := HOOKS.get(function.name):
        yield function.lineno, f"The hook {function.name} is gone: use {instead}."
    for argument in function.args.args:
        if new := HOOK_ARGUMENTS.get(argument.arg):
            yield argument.lineno, f"The argument {argument.arg} of the hook {function.name} is called {new} now."


def _call(call: ast.Call) -> Iterator[Finding]:
    called = ast.unparse(call.func)
    catalog, _, method = called.rpartition(".")
    if catalog.rpartition(".")[2].endswith("catalog") and (instead := CATALOG_METHODS.get(method)):
        yield call.lineno, f"{called}() is gone: use {instead}."
    for (function, argument), instead in ARGUMENTS.items():
        if called.endswith(function) and argument in (keyword.arg for keyword in call.keywords):
            yield call.lineno, f"The argument {argument} of {function}() is gone: use {instead}."
    if called.endswith("KedroSession.create") and call.args and _may_be_a_package(call.args[0]):
        yield call.lineno, "KedroSession.create() takes no package name: write project_path=…"
    if called.rpartition(".")[2] in ("node", "Node"):
        yield from _names(call)


def _may_be_a_package(argument: ast.expr) -> bool:
    """Tell whether an argument is a package's name, and not a project's path, which may stand first as well."""
    if isinstance(argument, ast.Constant):
        return str(argument.value).isidentifier()
    return "package" in ast.unparse(argument)


def _names(call: ast.Call) -> Iterator[Finding]:
    for keyword in call.keywords:
        for part in ast.walk(keyword.value) if keyword.arg in ("name", "tags") else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and not re.fullmatch(NAMES, part.value):
                said = "consist of letters, digits, '-', '_' and '.' in Kedro 1."
                yield part.lineno, f"'{part.value}': names and tags of nodes {said}"
