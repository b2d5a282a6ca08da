"""Write the pages of the reference that the code itself can tell: what ``--help`` prints, and types of vertexai.yml.

``make reference`` calls this; a test compares the pages with the code.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "{{ cookiecutter.repo_name }}/src"), str(ROOT / "src")]

import click  # noqa: E402

from kedro_vertexai_mlflow.adopt.command import main as adopt  # noqa: E402
from kedro_vertexai_mlflow.upgrade.command import main as upgrade  # noqa: E402
from vertexai_mlflow.cli import vertexai  # noqa: E402
from vertexai_mlflow.settings.models import Settings  # noqa: E402

PAGES = ROOT / "docs/reference"


def main() -> None:
    """Write both pages."""
    (PAGES / "help.md").write_text(help_page())
    (PAGES / "types.md").write_text(types_page())


def help_page() -> str:
    """Return the help of every command, as click prints it."""
    kedro = click.Group("kedro")
    group = click.Context(vertexai, info_name="vertexai", parent=click.Context(kedro, info_name="kedro"))
    commands = [("kedro vertexai", vertexai, group)]
    for name in vertexai.list_commands(group):
        command = vertexai.get_command(group, name)
        commands.append((f"kedro vertexai {name}", command, click.Context(command, info_name=name, parent=group)))
    for name, command in (("vertexai-adopt", adopt), ("vertexai-upgrade", upgrade)):
        commands.append((name, command, click.Context(command, info_name=name)))
    page = ["# What `--help` prints", "", "[Commands](commands.md) explains them, with output from real runs.", ""]
    for title, command, context in commands:
        context.terminal_width = context.max_content_width = 110
        page += [f"## {title}", "", "```text", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(page)


def types_page() -> str:
    """Return a table of the keys of vertexai.yml with their types and defaults."""
    schema = Settings.model_json_schema(by_alias=True)
    rows = [f"| `{key}` | {kind} | {default} |" for key, kind, default in _rows(schema, schema["$defs"], "")]
    head = [
        "# Types in `vertexai.yml`",
        "",
        "[`vertexai.yml`](vertexai-yml.md) says what each key is for, and which other spellings it takes, such as `2h`",
        "for a number of seconds. `*` stands for a name that you choose.",
        "",
        "| key | type | default |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


def _rows(model: dict[str, Any], models: dict[str, Any], prefix: str) -> list[tuple[str, str, str]]:
    """Walk the properties of a model, and of those inside it."""
    rows = []
    for name, field in model.get("properties", {}).items():
        key = f"{prefix}{name}"
        alternatives = [kind for kind in field.get("anyOf", [field]) if kind.get("type") != "null"]
        if name in model.get("required", []):
            default = "required"
        else:
            default = "" if field.get("default") in (None, {}, []) else f"`{json.dumps(field['default'])}`"
        inner, below = _inner(alternatives, models, key)
        if not (inner and below == f"{key}."):
            rows.append((key, " or ".join(_kind(kind) for kind in alternatives), default))
        if inner:
            rows += _rows(inner, models, below)
    return rows


def _inner(kinds: list[dict[str, Any]], models: dict[str, Any], key: str) -> tuple[dict[str, Any] | None, str]:
    """Return the model that a field has inside, and how its keys begin."""
    for kind in kinds:
        for part, below in (
            (kind, f"{key}."),
            (kind.get("additionalProperties"), f"{key}.*."),
            (kind.get("items"), f"{key}.*."),
        ):
            if isinstance(part, dict) and "$ref" in part:
                return models[part["$ref"].rpartition("/")[2]], below
    return None, ""


def _kind(kind: dict[str, Any]) -> str:
    """Return the words for a type."""
    if "$ref" in kind:
        return "mapping"
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if kind.get("type") == "array":
        return f"list of {_kind(kind['items'])}s"
    if kind.get("type") == "object":
        values = kind.get("additionalProperties")
        typed = isinstance(values, dict) and values.get("type")
        return f"mapping to {_kind(values)}s" if typed else "mapping"
    words = {"ipvanyaddress": "IP address", "date-time": "date and time"}.get(
        kind.get("format", ""), kind.get("type", "anything")
    )
    limits = [f"at least {kind['minimum']}"] if "minimum" in kind else []
    limits += [f"at most {kind['maximum']}"] if "maximum" in kind else []
    # A bar would end the cell of a table.
    limits += [f"`{kind['pattern']}`".replace("|", "\\|")] if "pattern" in kind else []
    return ", ".join([words, *limits])


if __name__ == "__main__":
    main()
