"""Merge settings.py and cli.py: they get a line at the end, and the import that it needs, where a linter expects it."""

import ast
from collections.abc import Collection

from .changes import Change

# Kedro's own arguments, where a project's settings.py has none.
_DEFAULT_ARGUMENTS = '{"base_env": "base", "default_run_env": "local"}'


def merge_settings(theirs: str, modules: Collection[str]) -> Change:
    """Give the configuration loader the platform's arguments too. Where both set something, the user's value counts.

    Args:
        theirs: the user's settings.py.
        modules: the names of the project's modules and packages below ``src``.
    """
    change = Change(theirs)
    if "with_vertexai" in theirs:
        return change
    arguments = (
        "CONFIG_LOADER_ARGS" if "CONFIG_LOADER_ARGS" in _list_assigned_names(ast.parse(theirs)) else _DEFAULT_ARGUMENTS
    )
    text = _insert_import(theirs, "vertexai_mlflow.kedro_settings", "with_vertexai", modules)
    change.text = f"{text.rstrip()}\n\nCONFIG_LOADER_ARGS = with_vertexai({arguments})\n"
    change.additions.append("the patterns, resolvers and merge strategy that vertexai.yml and mlflow.yml need")
    return change


def merge_cli(theirs: str, modules: Collection[str]) -> Change:
    """Add the command ``vertexai`` to the project's own group of commands; see ``merge_settings``."""
    change = Change(theirs)
    if "vertexai_mlflow.cli" in theirs:
        return change
    tree = ast.parse(theirs)
    if "cli" not in _list_assigned_names(tree) | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
        advice = "There is no command group named `cli`. Add the command to the group that Kedro finds."
        change.todos.append((0, advice))
        return change
    text = _insert_import(theirs, "vertexai_mlflow.cli", "vertexai", modules).rstrip()
    blank = "\n\n\n" if isinstance(tree.body[-1], ast.FunctionDef | ast.ClassDef) else "\n\n"
    change.text = f"{text}{blank}cli.add_command(vertexai)\n"
    change.additions.append("the command `vertexai`")
    return change


def _insert_import(text: str, module: str, name: str, modules: Collection[str]) -> str:
    """Import a name where isort and ruff expect an import from the project's own ``src``."""
    lines = text.splitlines()
    statement = f"from {module} import {name}"
    tree = ast.parse(text)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    before = [node for node in imports if _sort_key(node, modules) < (1, "from", module)]
    after = [node for node in imports if node not in before]
    if after and _sort_key(after[0], modules)[0] == 1:
        position, insertion = after[0].lineno - 1, [statement]
    elif before:
        position = before[-1].end_lineno or 0
        insertion = [statement] if _sort_key(before[-1], modules)[0] == 1 else ["", statement]
    elif after:
        position, insertion = after[0].lineno - 1, [statement, ""]
    else:
        position = 0 if ast.get_docstring(tree) is None else tree.body[0].end_lineno or 0
        insertion = ["", statement] if position else [statement]
        if position < len(lines) and lines[position].strip():
            insertion = [*insertion, ""]
    return "\n".join([*lines[:position], *insertion, *lines[position:]])


def _sort_key(node: ast.Import | ast.ImportFrom, modules: Collection[str]) -> tuple[int, str, str]:
    """Order imports as linters do: other packages, the project's own, relative ones; `import` before `from`."""
    if isinstance(node, ast.Import):
        name = node.names[0].name
        return int(name.partition(".")[0] in modules), "", name
    name = node.module or ""
    return 2 if node.level else int(name.partition(".")[0] in modules), "from", name


def _list_assigned_names(tree: ast.Module) -> set[str]:
    nodes = [node for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]
    targets = [target for node in nodes for target in (node.targets if isinstance(node, ast.Assign) else [node.target])]
    return {target.id for target in targets if isinstance(target, ast.Name)}
