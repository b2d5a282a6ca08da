"""Windows lacks what only Unix has. Each module can be imported there, and what needs it says to use WSL 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from running import SOURCE, environment

from vertexai_mlflow.auth.id_tokens import IdToken
from vertexai_mlflow.cli import vertexai
from vertexai_mlflow.errors import UserError
from vertexai_mlflow.local.scheduler import RunOptions, run_spec

# Names that the standard library has on Unix only: https://docs.python.org/3/library/os.html
OF_OS = [
    "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getsid", "getuid", "killpg", "mkfifo", "nice",
    "register_at_fork", "sched_getaffinity", "setpgid", "setsid", "statvfs", "uname", "wait", "wait3", "wait4", "WNOHANG",
    "O_NOFOLLOW", "O_DIRECTORY",
]  # fmt: skip
OF_SIGNAL = ["SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "ITIMER_REAL", "setitimer", "alarm"]
MODULES = ["fcntl", "grp", "pwd", "resource", "termios"]

# Other packages are imported before the names are hidden: how they cope is not asked here.
PROGRAM = f"""
import importlib, os, pkgutil, signal, sys
import vertexai_mlflow

def import_all():
    modules = [module.name for module in pkgutil.walk_packages(vertexai_mlflow.__path__, "vertexai_mlflow.")]
    for name in modules:
        if not name.endswith(".__main__"):
            importlib.import_module(name)
    return len(modules)

import_all()
for name in [name for name in sys.modules if name.startswith("vertexai_mlflow.")]:
    del sys.modules[name]
for module, names in ((os, {OF_OS}), (signal, {OF_SIGNAL})):
    for name in names:
        vars(module).pop(name, None)
for name in {MODULES}:
    sys.modules[name] = None
print(import_all())
"""


@pytest.mark.slow
def test_every_module_can_be_imported_where_these_names_are_missing():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment(PYTHONPATH=str(SOURCE)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 100


def test_the_programs_that_are_started_by_name_can_be_imported_as_well():
    """They are not imported above, because they would run."""
    for file in Path(SOURCE / "vertexai_mlflow").rglob("__main__.py"):
        text = file.read_text()
        assert not [name for name in [*OF_OS, *OF_SIGNAL] if f"os.{name}" in text or f"signal.{name}" in text], file


def test_without_forks_the_first_line_says_to_use_wsl(monkeypatch):
    monkeypatch.delattr(os, "fork")
    result = CliRunner().invoke(vertexai, ["no-such-command"])
    assert result.stderr.splitlines()[0].startswith(
        "This is Windows, on which nobody has tried this command. Use WSL 2"
    )


def test_without_process_groups_a_pipeline_is_not_run(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "killpg")
    with pytest.raises(UserError, match=r"^Windows itself cannot run the steps of a pipeline\. Use WSL 2"):
        run_spec({"pipelineInfo": {"name": "demo"}, "root": {"dag": {"tasks": {}}}}, RunOptions(tmp_path, tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_tokens_are_kept_where_no_fork_can_copy_them(monkeypatch):
    monkeypatch.delattr(os, "register_at_fork")
    IdToken(lambda: None, lambda status, error: "")
