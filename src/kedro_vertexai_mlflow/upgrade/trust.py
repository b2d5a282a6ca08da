"""Ask before code of a template runs on this machine. A yes is remembered for an address, outside of every project."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from ..errors import UserError


def ask_to_run(address: str, commits: Iterable[str], *, yes: bool) -> None:
    """Show what would run, and ask, unless somebody has said yes to this address before.

    Args:
        address: the template's.
        commits: those whose hooks would run.
        yes: whether this was answered on the command line.

    Raises:
        UserError: without a yes.
    """
    click.echo(f"Template: {address}\nCommits:  {', '.join(commits)}", err=True)
    if yes or address in _read_trusted_addresses():
        return
    try:
        is_trusted = click.confirm("Code of this template runs on your machine now. Do you trust it?", err=True)
    except click.Abort:  # nobody is there to answer
        is_trusted = False
    if not is_trusted:
        raise UserError(
            "Nothing was run and nothing was changed. If you do trust this template, answer y, or say --yes."
        )
    _find_list().parent.mkdir(parents=True, exist_ok=True)
    with _find_list().open("a", encoding="utf-8") as file:
        file.write(f"{address}\n")


def _read_trusted_addresses() -> list[str]:
    return _find_list().read_text(encoding="utf-8").splitlines() if _find_list().is_file() else []


def _find_list() -> Path:
    """Return the file with the addresses, one a line. `make upgrade` of a project reads and writes it too."""
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(folder) / "kedro-vertexai-mlflow" / "trusted-templates"
