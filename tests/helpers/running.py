"""Running a generated project's commands as its user would."""

import atexit
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from forked_kedro import ForkedKedro

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# The template's package, which is the same in every project, where it lies.
SOURCE = ROOT / "{{ cookiecutter.repo_name }}/src"
PLATFORM = SOURCE / "vertexai_mlflow"


def environment(**extra: str) -> dict[str, str]:
    """This process's environment, without what would leak one project into another, or a make that runs the tests.

    Python keeps what it has compiled, as it does for users, also where this process must not.
    """
    left_out = ("KEDRO_", "MLFLOW_", "GCSFS_", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    return {**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "DO_NOT_TRACK": "1", "COLUMNS": "200", **extra}


def launcher_environment(**extra: str) -> dict[str, str]:
    """The same, as a launcher hands it to its steps, after it has imported the platform."""
    return environment(GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT="false", **extra)


def run(
    *argv: str | Path, cwd: Path, timeout: float = 300, cold: bool = False, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a command and return it with its output; nobody answers its questions.

    Args:
        argv: the command. ``BIN / "kedro"`` is a fork of an interpreter that has imported most packages already, which
            saves seconds, unless an import would look at one of the variables in ``extra``.
        cwd: its working directory.
        timeout: seconds until it is killed.
        cold: start it as its user does, because the test is about its start: what it imports, what is installed.
        extra: more environment variables.
    """
    command, variables = [str(item) for item in argv], environment(**extra)
    if not cold and argv[0] == BIN / "kedro" and sys.platform == "linux":
        forked = _forked_kedro()
        if forked.can_run(variables):
            return forked.run(command, cwd, variables, timeout)
    return subprocess.run(
        command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )


@cache
def _forked_kedro() -> ForkedKedro:
    forked = ForkedKedro(environment())
    atexit.register(forked.close)
    return forked


def commit(project: Path) -> str:
    """Commit all there is; returns the commit's id."""
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-q", "-m", "All"]):
        done = run("git", *command, cwd=project)
        assert done.returncode == 0, done.stderr
    return run("git", "rev-parse", "HEAD", cwd=project).stdout.strip()


def copy_working_tree(folder: Path) -> None:
    """Copy the starter's files to a folder: those in Git, and new ones that Git would take."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.split("\0")
    for name in listed:
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)


def generators(repository: Path) -> dict[str, list[str | Path]]:
    """The three ways to generate a project: the folder that each makes → its command."""
    return {
        "my-project": [BIN / "kedro", "new", f"--starter={repository}", "--name", "My Project", "--telemetry", "no"],
        "new-kedro-project": [BIN / "cookiecutter", repository, "--no-input"],
        "cruft/new-kedro-project": [BIN / "cruft", "create", repository, "--no-input", "--output-dir", "cruft"],
    }
