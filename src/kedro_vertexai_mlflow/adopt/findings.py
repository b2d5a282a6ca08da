"""Find what Kedro 1 no longer has: a module goes in, lines come out, each with what to write instead."""

import ast
import re
import sys
from collections.abc import Iterator

from .kedro1 import ARGUMENTS, CATALOG_METHODS, HOOK_ARGUMENTS, HOOKS, IMPORTS, NODE_NAME

Finding = tuple[int, str]


def find_outdated_code(text: str, package: str, python: str) -> list[Finding]:
    """Return line number and sentence for each place.

    Args:
        text: the module.
        package: the project's package, which has the header providers of kedro-vertexai now.
        python: the oldest Python of the project, ``3.12``.

    Raises:
        SyntaxError: when an older Python than that runs this command, and cannot read the module.
    """
    here, oldest = sys.version_info.minor, int(python.rpartition(".")[2])
    try:
        tree = ast.parse(text, feature_version=(3, min(here, oldest)))
    except SyntaxError as error:
        if here < oldest:
            raise
        reader = f"Python {python}, the oldest one that requires-python allows,"
        return [(error.lineno or 0, f"{reader} cannot read this: {error.msg}. Fix it, or raise requires-python.")]
    findings: list[Finding] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                findings += _check_import(node.lineno, f"{node.module}.{alias.name}", package)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                findings += _check_import(node.lineno, alias.name, package)
        elif isinstance(node, ast.FunctionDef):
            findings += _check_hook(node)
        elif isinstance(node, ast.Call):
            findings += _check_call(node)
    return sorted(set(findings))


def _check_import(line: int, name: str, package: str) -> Iterator[Finding]:
    if name.split(".")[0] == "kedro_vertexai":
        yield line, f"{name}: the plugin is no longer used. Import it from {package}.auth or vertexai_mlflow."
        return
    parts = name.split(".")
    patterns = [name, *(".".join([*parts[:depth], "*"]) for depth in range(len(parts), 1, -1))]
    if pattern := next((pattern for pattern in patterns if pattern in IMPORTS), None):
        yield line, f"{name} is gone: use {IMPORTS[pattern]}."


def _check_hook(function: ast.FunctionDef) -> Iterator[Finding]:
    if not any(ast.unparse(decorator).endswith("hook_impl") for decorator in function.decorator_list):
        return
    if instead := HOOKS.get(function.name):
        yield function.lineno, f"The hook {function.name} is gone: use {instead}."
    for argument in function.args.args:
        if new := HOOK_ARGUMENTS.get(argument.arg):
            yield argument.lineno, f"The argument {argument.arg} of the hook {function.name} is called {new} now."


def _check_call(call: ast.Call) -> Iterator[Finding]:
    callee = ast.unparse(call.func)
    catalog, _, method = callee.rpartition(".")
    if catalog.rpartition(".")[2].endswith("catalog") and (instead := CATALOG_METHODS.get(method)):
        yield call.lineno, f"{callee}() is gone: use {instead}."
    for (function, argument), instead in ARGUMENTS.items():
        if callee.endswith(function) and argument in (keyword.arg for keyword in call.keywords):
            yield call.lineno, f"The argument {argument} of {function}() is gone: use {instead}."
    if callee.endswith("KedroSession.create") and call.args and _is_package_name(call.args[0]):
        yield call.lineno, "KedroSession.create() takes no package name: write project_path=…"
    if callee.rpartition(".")[2] in ("node", "Node"):
        yield from _check_names(call)


def _is_package_name(argument: ast.expr) -> bool:
    """Whether a first argument is a package's name; it may also be a project's path."""
    if isinstance(argument, ast.Constant):
        return str(argument.value).isidentifier()
    return "package" in ast.unparse(argument)


def _check_names(call: ast.Call) -> Iterator[Finding]:
    for keyword in call.keywords:
        for part in ast.walk(keyword.value) if keyword.arg in ("name", "tags") else ():
            if (
                isinstance(part, ast.Constant)
                and isinstance(text := part.value, str)
                and not re.fullmatch(NODE_NAME, text)
            ):
                rule = "in Kedro 1, names and tags of nodes may have only letters, digits, '-', '_' and '.'."
                yield part.lineno, f"'{text}': {rule}"
