"""Tasks as forks of one preloaded interpreter, which saves each of them the seconds that importing takes.

What is imported beforehand is what the project's modules import of other packages, and what the tasks of the last run
had imported in the end. ``fork_server`` is the interpreter's half.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import send_handle
from pathlib import Path

from ..image.imports import imports_of, own_modules
from . import fork_server
from .jobs import write_json

# What every task imports, also before anything is known about the last run.
_ALWAYS = (
    "kedro.framework.session", "kedro.framework.startup", "kedro.runner", "kedro_datasets",
    "kedro_mlflow.framework.hooks", "mlflow.store.tracking.sqlalchemy_store", "cloudpickle",
)  # fmt: skip


class Preloaded:
    """A preloaded interpreter, which is started at once and imports while other things are done.

    Args:
        project: root of the project; the modules below ``src`` say what is imported.
        memory: file that remembers for the next run what tasks have imported.
        environment: environment variables of the interpreter.
    """

    def __init__(self, project: Path, memory: Path, environment: Mapping[str, str]) -> None:
        self._memory = memory
        self._lock = threading.Lock()
        self._has_run = False
        self._imports = sorted({name for file in own_modules(project / "src") for name in imports_of(file)})
        self._modules = dict.fromkeys(self._remembered())
        self._control, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, fork_server.__file__, str(theirs.fileno())], cwd=project, env=environment,
                pass_fds=[theirs.fileno()], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        module_names = [path.stem for path in (project / "src").iterdir()]
        self._control.send({"modules": [*_ALWAYS, *self._imports, *self._modules], "own": module_names})

    @cached_property
    def why_not(self) -> str:
        """Why tasks cannot be forked; empty if they can. Waits for the imports."""
        try:
            return str(self._control.recv()["reason"])
        except (EOFError, OSError):
            return "the preloaded interpreter has ended"

    def start(self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], log: int) -> "Fork":
        """Start a task.

        Args:
            argv: ``python -m module arguments``.
            cwd: its working directory.
            environment: its environment variables.
            log: file descriptor that it prints to.

        Raises:
            OSError: when the interpreter has ended.
        """
        self._has_run = True
        connection, theirs = Pipe()
        with theirs, self._lock:
            for descriptor in (theirs.fileno(), log):
                send_handle(self._control, descriptor, self._process.pid)
            self._control.send({"argv": list(argv[2:]), "cwd": str(cwd), "environment": dict(environment)})
        return Fork(connection, lambda modules: self._modules.update(dict.fromkeys(modules)))

    def close(self) -> None:
        """End the interpreter, and remember what the tasks have imported."""
        self._control.close()
        self._process.kill()  # it may still be importing
        self._process.wait()
        if self._has_run:
            write_json({"imports": self._imports, "modules": list(self._modules)}, self._memory)

    def _remembered(self) -> list[str]:
        """What tasks have imported since the project's own imports changed last."""
        try:
            remembered = json.loads(self._memory.read_text(encoding="utf-8"))
            return remembered["modules"] if remembered["imports"] == self._imports else []
        except (OSError, ValueError, KeyError, TypeError):
            return []


class Fork:
    """A task's process, with as much of ``subprocess.Popen`` as the scheduler uses.

    Args:
        report: where the interpreter and the fork tell how it goes.
        learn: gets the names of the modules that the task has imported besides.

    Raises:
        OSError: when the interpreter has ended.
    """

    def __init__(self, report: Connection, learn: Callable[[Sequence[str]], None]) -> None:
        self._report, self._learn = report, learn
        self._reading = threading.Lock()
        self.returncode: int | None = None
        self.pid = 0
        while not self.pid and self.returncode is None:
            self._read()
        if not self.pid:
            raise OSError("the preloaded interpreter has ended")

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended.

        Returns:
            Its exit code; the negative number of the signal that killed it.

        Raises:
            subprocess.TimeoutExpired: when it has not ended after so many seconds.
        """
        if not self._reading.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired("python", timeout or 0.0)
        try:
            while self.returncode is None:
                self._read()
            return self.returncode
        finally:
            self._reading.release()

    def _read(self) -> None:
        try:
            message = self._report.recv()
        except (EOFError, OSError):
            # The interpreter was killed, and the process with it. Kill what that has started.
            if self.pid:
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
            message = {"code": -signal.SIGKILL}
        self._learn(message.get("modules", ()))
        self.pid = message.get("pid", self.pid)
        self.returncode = message.get("code")
