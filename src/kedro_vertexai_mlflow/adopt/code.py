"""settings.py and cli.py: what the template needs of them is added at their end."""

import ast

from .changes import Change

_MARK = "# Added by vertexai-adopt."


def merge_settings(theirs: str, ours: str) -> Change:
    """Add the template's settings. Where the user's own CONFIG_LOADER_ARGS say something else, they count."""
    change = Change(theirs)
    if "from .auth import resolvers" in theirs:
        return change
    lines, tree = ours.splitlines(), ast.parse(ours)
    imports = lines[_imports(tree)[0].lineno - 1 : _head(tree)]
    body = "\n".join(lines[_head(tree) :]).strip()
    yours = "CONFIG_LOADER_ARGS" if "CONFIG_LOADER_ARGS" in _assigned(ast.parse(theirs)) else "{}"
    change.text = f"""{_with_imports(theirs, imports).rstrip()}

{_MARK} What is above stays, and counts where it says something else.
_OWN_ARGS: dict = {yours}

{body}

for _name, _value in _OWN_ARGS.items():
    if isinstance(_value, dict):
        CONFIG_LOADER_ARGS[_name] = {{**CONFIG_LOADER_ARGS.get(_name, {{}}), **_value}}
    else:
        CONFIG_LOADER_ARGS[_name] = _value
"""
    change.added.append("the patterns, resolvers and merge strategy that vertexai.yml and mlflow.yml need")
    return change


def merge_cli(theirs: str, _ours: str) -> Change:
    """Add the command ``vertexai`` to the project's own group of commands."""
    change = Change(theirs)
    if "vertexai.cli import vertexai" in theirs:
        return change
    tree = ast.parse(theirs)
    if "cli" not in _assigned(tree) | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
        change.left.append(
            (0, "There is no group of commands with the name `cli`. Add the command to the one Kedro finds.")
        )
        return change
    text = _with_imports(theirs, ["from .vertexai.cli import vertexai"]).rstrip()
    change.text = f"{text}\n\n\n{_MARK}\ncli.add_command(vertexai)\n"
    change.added.append("the command `vertexai`")
    return change


def _with_imports(text: str, imports: list[str]) -> str:
    """Put lines with imports after the imports of a module, or after its docstring."""
    lines, tree = text.splitlines(), ast.parse(text)
    end = _head(tree)
    return "\n".join([*lines[:end], *([""] if end else []), *imports, *lines[end:]])


def _imports(tree: ast.Module) -> list[ast.stmt]:
    return [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def _head(tree: ast.Module) -> int:
    """Return how many lines a module has up to the last of its imports, or of its docstring."""
    found = _imports(tree) or (tree.body[:1] if ast.get_docstring(tree) is not None else [])
    return (found[-1].end_lineno or 0) if found else 0


def public_names(text: str) -> set[str]:
    """Return the classes, functions and variables of a module that others may import."""
    tree = ast.parse(text)
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return {name for name in defined | _assigned(tree) if not name.startswith("_")}


def _assigned(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names
