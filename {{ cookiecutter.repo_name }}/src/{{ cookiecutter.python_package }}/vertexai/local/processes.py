"""Processes of tasks on this machine: interrupting them, and what their exit codes mean."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def interrupts(handle: Callable[[], None]) -> Iterator[None]:
    """Call ``handle``, in a thread of its own, on Ctrl-C and on SIGTERM, and let the scheduler go on."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: threading.Thread(target=handle).start()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a process and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def meaning(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    hint = ", perhaps for lack of memory" if code == -signal.SIGKILL else ""
    return f"killed by {signal.Signals(-code).name}{hint}"
