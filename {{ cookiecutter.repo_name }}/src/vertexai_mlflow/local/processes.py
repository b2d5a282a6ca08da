"""Starts and interrupts the processes of tasks on this machine, and explains their exit codes."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..contract.names import SHARED_DISK_VARIABLE
from .preloaded import Fork, Preloaded

Process = subprocess.Popen[bytes] | Fork


def environment() -> dict[str, str]:
    """The environment variables of tasks that run as processes of this machine.

    A container has its own Python; here, tasks run the Python of this process. Here, too, all tasks share one disk.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, SHARED_DISK_VARIABLE: "1"}


def start(
    argv: Sequence[str], cwd: Path, variables: Mapping[str, str], log: int, preloaded: Preloaded | None
) -> Process:
    """Start a task's process, as a fork if possible.

    It gets its own session, so that Ctrl-C reaches only this process, which then decides what happens to the task.

    Args:
        argv: the command.
        cwd: its working directory.
        variables: its environment variables.
        log: file descriptor that it prints to.
        preloaded: an interpreter that may fork it.

    Raises:
        OSError: when it cannot be started.
    """
    if preloaded and list(argv[:2]) == ["python", "-m"]:  # a fork can only run a module of Python
        with suppress(OSError):  # if the interpreter was killed, the task starts without it
            return preloaded.start(argv, cwd, variables, log)
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=cwd, env=variables,
        start_new_session=True,
    )  # fmt: skip


@contextmanager
def interrupts(handle: Callable[[], None]) -> Iterator[None]:
    """Call ``handle``, in a thread of its own, on Ctrl-C and on SIGTERM, and let the scheduler continue."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    old_handlers = [signal.signal(number, lambda *_: threading.Thread(target=handle).start()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old_handlers, strict=True):
            signal.signal(number, handler)


def signal_group(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process and to all processes that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def meaning(code: int) -> str:
    """Explain an exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    hint = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-code).name}{hint}"
