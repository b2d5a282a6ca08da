"""settings.py and cli.py: a line or two at their end, and the import that it needs, where a linter expects it."""

import ast
from collections.abc import Collection

from .changes import Change

# What Kedro takes for these where a project's settings.py has none.
_KEDROS_OWN = '{"base_env": "base", "default_run_env": "local"}'


def merge_settings(theirs: str, own: Collection[str]) -> Change:
    """Let the configuration loader have the platform's arguments as well. Where both say something, the user's count.

    Args:
        theirs: the user's settings.py.
        own: the names of the project's own modules and packages, below ``src``.
    """
    change = Change(theirs)
    if "with_vertexai" in theirs:
        return change
    arguments = "CONFIG_LOADER_ARGS" if "CONFIG_LOADER_ARGS" in _assigned(ast.parse(theirs)) else _KEDROS_OWN
    text = _with_import(theirs, "vertexai_mlflow.kedro_settings", "with_vertexai", own)
    change.text = f"{text.rstrip()}\n\nCONFIG_LOADER_ARGS = with_vertexai({arguments})\n"
    change.added.append("the patterns, resolvers and merge strategy that vertexai.yml and mlflow.yml need")
    return change


def merge_cli(theirs: str, own: Collection[str]) -> Change:
    """Add the command ``vertexai`` to the project's own group of commands; see ``merge_settings``."""
    change = Change(theirs)
    if "vertexai_mlflow.cli" in theirs:
        return change
    tree = ast.parse(theirs)
    if "cli" not in _assigned(tree) | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
        change.left.append(
            (0, "There is no group of commands with the name `cli`. Add the command to the one Kedro finds.")
        )
        return change
    text = _with_import(theirs, "vertexai_mlflow.cli", "vertexai", own).rstrip()
    blank = "\n\n\n" if isinstance(tree.body[-1], ast.FunctionDef | ast.ClassDef) else "\n\n"
    change.text = f"{text}{blank}cli.add_command(vertexai)\n"
    change.added.append("the command `vertexai`")
    return change


def _with_import(text: str, module: str, name: str, own: Collection[str]) -> str:
    """Import a name in the place where isort and ruff expect a module of the project's own ``src``."""
    lines, statement = text.splitlines(), f"from {module} import {name}"
    tree = ast.parse(text)
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    head = imports or (tree.body[:1] if ast.get_docstring(tree) is not None else [])
    before = [node for node in imports if _sort_key(node, own) < (1, "from", module)]
    after = [node for node in imports if node not in before]
    if after and _sort_key(after[0], own)[0] == 1:
        position, new = after[0].lineno - 1, [statement]
    elif before:
        position = before[-1].end_lineno or 0
        new = [statement] if _sort_key(before[-1], own)[0] == 1 else ["", statement]
    elif after:
        position, new = after[0].lineno - 1, [statement, ""]
    else:
        position = _end_of(head)
        new = ["", statement] if position else [statement]
        if position < len(lines) and lines[position].strip():
            new = [*new, ""]
    return "\n".join([*lines[:position], *new, *lines[position:]])


def _sort_key(node: ast.Import | ast.ImportFrom, own: Collection[str]) -> tuple[int, str, str]:
    """How linters order imports: those of other packages, the project's own, relative ones; `import` before `from`."""
    if isinstance(node, ast.Import):
        name = node.names[0].name
        return int(name.partition(".")[0] in own), "", name
    name = node.module or ""
    return 2 if node.level else int(name.partition(".")[0] in own), "from", name


def _end_of(nodes: list[ast.stmt] | list[ast.Import | ast.ImportFrom]) -> int:
    return (nodes[-1].end_lineno or 0) if nodes else 0


def _assigned(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
