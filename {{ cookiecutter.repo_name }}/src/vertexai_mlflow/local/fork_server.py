"""An interpreter that has imported other people's modules and forks for each task: ``python fork_server.py CONTROL``.

It is run as a file, so nothing of the project's own package is imported here: every task imports that anew. It opens
nothing, starts no thread and reads no configuration. Orders come from ``preloaded`` over a socket. A fork becomes the
task's process, with the arguments, environment, working directory, log, session and process group that the task would
have had if Python had been started for it, and it ends as Python ends.
"""

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import inspect
import os
import runpy
import selectors
import signal
import sys
import sysconfig
import threading
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1  # https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def main() -> None:
    """Import, say how that went, and serve; in a fork, run the task's module as ``python -m`` does."""
    control = Connection(int(sys.argv[1]))
    sys.path[0] = str(Path.cwd())  # as `python -m` has it; so far it is the folder of this file
    setup = control.recv()
    reasons = (_preload(name, setup["own"]) for name in setup["modules"])
    reason = next(filter(None, reasons), "")
    if threads := threading.active_count() - 1:
        reason = reason or f"the imports have started {threads} threads, which a fork would not have"
    with contextlib.suppress(OSError):
        control.send({"reason": reason})
    if reason:
        return
    inspect.stack()  # Kedro's settings ask for it, and the first answer looks up the file of every module
    gc.freeze()  # what is there now stays shared with the forks
    preloaded = set(sys.modules)
    order, report = _serve(control)
    os.chdir(order["cwd"])
    # The working directory comes first, and then PYTHONPATH: those of the task in the place of this interpreter's.
    old_length = 1 + len(_python_path())
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["argv"]
    sys.path[:old_length] = [order["cwd"], *_python_path()]
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # all forks would draw the same numbers; Python's own generator takes care of that itself
    try:
        runpy.run_module(order["argv"][0], run_name="__main__", alter_sys=True)
    finally:
        with contextlib.suppress(Exception):  # whatever happens here must not change how the task has ended
            imports = [
                name for name in list(sys.modules) if name not in preloaded and _is_installed(name, setup["own"])
            ]
            report.send({"modules": imports})


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def _preload(name: str, own: list[str]) -> str:
    """Import a module that is not the project's own.

    Returns:
        Why it could not be imported. What is not installed is no reason: a task may do without it.
    """
    try:
        if _is_installed(name, own):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        return "" if name.startswith(str(error.name)) else f"{name} cannot be imported ({error})"
    except BaseException as error:
        return f"{name} cannot be imported ({type(error).__name__}: {error})"
    return ""


def _is_installed(name: str, own: list[str]) -> bool:
    """Whether a module belongs to Python or an installed package, and so does not change while tasks run."""
    top = name.partition(".")[0]
    if top in own or top == "__main__":
        return False
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None) if module else importlib.util.find_spec(top)
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else [""]
    return all(place is None or place in ("built-in", "frozen") or place.startswith(_INSTALLED) for place in places)


def _serve(control: Connection) -> tuple[dict[str, Any], Connection]:
    """Fork for each order and report how each fork has ended, until the other side hangs up.

    Returns:
        In a fork: its order, and the connection for its report.
    """
    wake_up, wake_up_writer = os.pipe()
    os.set_blocking(wake_up_writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_up_writer, warn_on_full_buffer=False)
    reports: dict[int, Connection] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wake_up, selectors.EVENT_READ)
    while True:
        ready = [key.fileobj for key, _events in selector.select()]
        if wake_up in ready:
            os.read(wake_up, 4096)
            _reap(reports)
        if control not in ready:
            continue
        try:
            report, log, order = Connection(recv_handle(control)), recv_handle(control), control.recv()
        except EOFError:
            os._exit(0)
        if pid := os.fork():
            os.close(log)
            reports[pid] = report
            continue
        os.setsid()
        ctypes.CDLL(None).prctl(
            _PR_SET_PDEATHSIG, signal.SIGKILL
        )  # without the server, nothing can collect its exit code
        report.send({"pid": os.getpid()})
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        selector.close()
        for other in (control, *reports.values()):
            other.close()
        for number in (1, 2):
            os.dup2(log, number)
        for descriptor in (wake_up, wake_up_writer, log):
            os.close(descriptor)
        return order, report


def _reap(reports: dict[int, Connection]) -> None:
    while reports:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(OSError), reports.pop(pid) as report:
            report.send({"code": os.waitstatus_to_exitcode(status)})


if __name__ == "__main__":
    main()
