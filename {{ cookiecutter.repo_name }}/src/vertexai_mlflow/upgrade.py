"""The first half of `make upgrade`: ``python -m vertexai_mlflow.upgrade`` fetches the template, asks, and calls it.

The address stands in ``.cruft.json``, which nobody reviews as code, and what is there runs on this machine: the command
``vertexai-upgrade`` of the commit that is checked out, and the template's hooks. So this half is the project's own.
"""

import os
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError, shown
from .seal import RECORD, read_record

_CLONE = Path(".vertexai/.template")


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch, ask and run; returns the command's exit code.

    Raises:
        UserError: when the template cannot be fetched, or nobody has said yes to its address.
    """
    parser = ArgumentParser(prog='make upgrade ARGS="…"', add_help=False, allow_abbrev=False)
    parser.add_argument("--to", default="HEAD")
    parser.add_argument("--yes", action="store_true")
    args, others = parser.parse_known_args(argv)
    address = read_record(Path()).get("template")
    if not isinstance(address, str) or not address.isprintable():
        raise UserError(f"There is no {RECORD} that says where this project comes from: `template`, and a `commit`.")
    commit = _fetch(address, args.to)
    print(f"Template: {shown(address)}\nCommit:   {commit}", file=sys.stderr)
    if not args.yes:
        _ask(address)
    try:
        return _run([str(_CLONE), "--to", commit, "--yes", *others])
    except FileNotFoundError:
        raise UserError("uv is not installed. Install what checking needs: pip install -e '.[dev]'") from None


def _fetch(address: str, to: str) -> str:
    """Clone the template, and check out a tag, branch or commit.

    Returns:
        The commit.
    """
    shutil.rmtree(_CLONE, ignore_errors=True)
    _git("clone", "--quiet", "--no-checkout", "--", address, str(_CLONE))
    for name in (to, f"origin/{to}"):
        if commit := _git("-C", str(_CLONE), "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", may_fail=True):
            _git("-C", str(_CLONE), "checkout", "--quiet", "--detach", commit)
            return commit
    raise UserError(f"--to {to}: the template at {shown(address)} has no such tag, branch or commit.")


def _run(arguments: list[str]) -> int:
    """Run the template's own half, with the packages that its commit has locked, and return its exit code.

    Raises:
        UserError: when a package is not what the lock says.
    """
    lock, environment = _CLONE / "requirements.lock", str(_CLONE.with_name(".upgrade"))
    if not lock.is_file():  # Other templates, and commits before 0.2, have none: the index says what is installed.
        command = ["uv", "tool", "run", "--quiet", "--from", f"./{_CLONE}", "vertexai-upgrade", *arguments]
        return subprocess.run(command).returncode
    by_hash = ("--no-deps", "--require-hashes", "--no-build", "-r", str(lock))
    for command in (
        ["uv", "venv", "--quiet", "--clear", "--python", sys.executable, environment],
        ["uv", "pip", "install", "--quiet", "--python", environment, *by_hash],
    ):
        if subprocess.run(command).returncode:
            raise UserError("What upgrading needs cannot be installed as the template has locked it; see above.")
    # It is run and not installed: building it would fetch packages that nothing pins.
    python = ["uv", "run", "--quiet", "--no-project", "--python", environment, "python", "-P", "-m"]
    variables = {**os.environ, "PYTHONPATH": str((_CLONE / "src").resolve())}
    return subprocess.run([*python, "kedro_vertexai_mlflow.upgrade.command", *arguments], env=variables).returncode


def _git(*arguments: str, may_fail: bool = False) -> str:
    process = subprocess.run(["git", *arguments], stdout=subprocess.PIPE, text=True)
    if process.returncode and not may_fail:
        raise UserError(f"git {' '.join(arguments[:2])} has failed, so nothing was run; see above.")
    return process.stdout.strip()


def _ask(address: str) -> None:
    """Ask, unless somebody has said yes to this address before.

    Raises:
        UserError: without a yes.
    """
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    # One address a line; `vertexai-upgrade` reads and writes it too.
    trusted = Path(folder) / "kedro-vertexai-mlflow" / "trusted-templates"
    if trusted.is_file() and address in trusted.read_text(encoding="utf-8").splitlines():
        return
    print(
        "Code of this template runs on your machine now. Do you trust it? [y/N]: ", end="", file=sys.stderr, flush=True
    )
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("Nothing was run. If you do trust this template, answer y, or call: make upgrade ARGS=--yes")
    trusted.parent.mkdir(parents=True, exist_ok=True)
    with trusted.open("a", encoding="utf-8") as file:
        file.write(f"{address}\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"Error: {error}")
