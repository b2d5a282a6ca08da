"""``kedro`` commands as forks of one interpreter, which has imported once what most of them need.

It is the same code as that of a cold command, the console script, in a process of its own, with its own arguments,
environment, working directory, streams and exit code. What differs is that most packages have been imported and that
strings have the same hashes in all forks, so a test that is about the start of a command must start it cold.

This file is also the interpreter's program: ``python forked_kedro.py KEDRO``, with the other end of a socket as stdin.
"""

import gc
import importlib
import inspect
import json
import locale
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# Whoever varies one of these wants it to count from the start of the process.
_FROM_THE_START = ("FSSPEC_", "LANG", "LC_", "PYTHON")
# Read by imports, and nothing depends on it here: MLflow counts no use in tests (and DO_NOT_TRACK is set), and
# google-auth looks for a client certificate, which no test has.
_WITHOUT_EFFECT = {"CI", "PYTEST_CURRENT_TEST", "CLOUDSDK_CONFIG"}
# What tests vary all the time: no module that reads these may be imported beforehand.
_NOT_TO_BE_READ = {
    "CLOUDSDK_AUTH_DISABLE_CREDENTIALS", "GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT", "HTTPS_PROXY",
    "KEDRO_ENV", "KEDRO_LOGGING_CONFIG", "MLFLOW_TRACKING_URI", "NO_GCE_CHECK", "NO_PROXY", "REQUESTS_CA_BUNDLE",
    "STORAGE_EMULATOR_HOST",
}  # fmt: skip
# These look at the environment or the working directory when they are imported: google-auth for the metadata server,
# gcsfs for the emulator, Kedro for its logging configuration. So `kfp` and `kedro.framework` are not in the list below,
# but what they import is.
_NOT_TO_BE_IMPORTED = ("gcsfs", "google.auth.compute_engine", "kedro.framework.project", "kfp")
_IMPORTED = (
    "aiohttp", "click", "cloudpickle", "cookiecutter.main", "cronsim", "docker", "docstring_parser", "dynaconf",
    "fsspec.implementations.local", "google.auth.iam", "google.auth.transport.requests",
    "google.cloud.aiplatform_v1.services.metadata_service", "google.cloud.aiplatform_v1.services.pipeline_service",
    "google.cloud.aiplatform_v1.services.schedule_service", "google.protobuf.json_format", "jinja2", "jsonschema",
    "kedro.config", "kedro.io", "kedro.pipeline", "kedro_datasets.matplotlib", "kedro_datasets.pandas",
    "kedro_datasets.pickle", "kedro_mlflow.io.artifacts", "kedro_mlflow.io.metrics", "kedro_mlflow.io.models",
    "kfp_server_api", "kubernetes", "matplotlib.pyplot", "mlflow.pyfunc", "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking", "omegaconf", "pandas", "pluggy", "pydantic",
    "requests", "rich.console", "rich.progress", "rich.table", "rich.traceback", "sklearn.ensemble",
    "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection", "yaml",
)  # fmt: skip


class ForkedKedro:
    """The interpreter, which is started when the first command comes.

    Args:
        kedro: the console script.
        environment: the interpreter's environment variables.
    """

    def __init__(self, kedro: Path, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(kedro)], cwd="/", env=self._environment, start_new_session=True,
                stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._lock = threading.Lock()  # one command at a time
        told = json.loads(self._control.recv(1 << 20) or '{"problem": "it has ended"}')
        assert not told["problem"], f"The interpreter for forked commands: {told['problem']}"
        self._read = set(told["read"]) - _WITHOUT_EFFECT
        assert not self._read & _NOT_TO_BE_READ, f"Imports have read {self._read & _NOT_TO_BE_READ}"

    def can_run(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment would have imported the same from the start."""
        differ = {name for name, _ in environment.items() ^ self._environment.items()}
        return not differ & self._read and not any(name.startswith(_FROM_THE_START) for name in differ)

    def run(
        self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Do what ``subprocess.run`` does with ``capture_output``, ``text`` and nothing on stdin.

        Raises:
            subprocess.TimeoutExpired: after so many seconds. The command is killed, with what it has started.
        """
        deadline = time.monotonic() + timeout
        printed = {}
        with self._lock, tempfile.TemporaryFile() as order, selectors.DefaultSelector() as selector:
            order.write(json.dumps({"argv": argv, "cwd": str(cwd), "environment": dict(environment)}).encode())
            order.seek(0)
            streams = [os.pipe(), os.pipe()]
            socket.send_fds(self._control, [b"+"], [order.fileno(), *(write for _, write in streams)])
            for read, write in streams:
                os.close(write)
                selector.register(read, selectors.EVENT_READ)
                printed[read] = b""
            selector.register(self._control, selectors.EVENT_READ)
            code: int | None = None
            killed = False
            try:
                while selector.get_map():
                    for key, _ in selector.select(max(0, deadline - time.monotonic())):
                        if key.fileobj is self._control:
                            if not (answer := self._control.recv(16)):
                                raise RuntimeError("The interpreter for forked commands has ended.")
                            code = int(answer)
                            selector.unregister(self._control)
                        elif part := os.read(key.fd, 1 << 16):
                            printed[key.fd] += part
                        else:
                            selector.unregister(key.fd)
                    if time.monotonic() > deadline and selector.get_map():
                        killed = True
                        break
            finally:
                if code is None:  # too late, or interrupted
                    with suppress(OSError):
                        self._control.send(b"kill")
                        self._control.recv(16)
                for read, _ in streams:
                    os.close(read)
        encoding = locale.getpreferredencoding(False)
        texts = [text.decode(encoding).replace("\r\n", "\n").replace("\r", "\n") for text in printed.values()]
        if killed:
            raise subprocess.TimeoutExpired(list(argv), timeout, *texts)
        assert code is not None
        return subprocess.CompletedProcess(list(argv), code, *texts)

    def close(self) -> None:
        """End the interpreter."""
        self._control.close()
        self._process.wait()


def main() -> None:
    """Import, tell how that went, and serve; in a fork, execute the console script."""
    control = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    kedro = sys.argv[1]
    sys.path[0] = str(Path(kedro).resolve().parent)  # as it is for the console script
    control.send(json.dumps(_import()).encode())
    order = _serve(control)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["argv"]
    sys.modules["numpy"].random.seed()  # all forks would draw the same numbers
    runpy.run_path(kedro, run_name="__main__")


def _import() -> dict[str, Any]:
    """Import what is in the list.

    Returns:
        ``read``, the environment variables that were looked at, and ``problem``, empty if there is none.
    """
    import fsspec.config  # noqa: F401  It looks at all variables, for those that begin with FSSPEC_.

    read: set[str] = set()
    usual = type(os.environ)

    class Recording(usual):  # type: ignore[valid-type, misc]
        def __getitem__(self, name: Any) -> str:
            read.add(os.fsdecode(name))
            return super().__getitem__(name)

        def __iter__(self) -> Any:
            read.update(os.fsdecode(name) for name in self._data)
            return super().__iter__()

    problems = []
    os.environ.__class__ = Recording
    for name in _IMPORTED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            problems.append(f"{name} cannot be imported ({error})")
    os.environ.__class__ = usual
    if imported := [name for name in _NOT_TO_BE_IMPORTED if name in sys.modules]:
        problems.append(f"{imported} must not be imported")
    if threading.active_count() > 1:
        problems.append("the imports have started threads, which a fork would not have")
    inspect.stack()  # Kedro's settings ask for it, and the first answer looks up the file of every module
    gc.freeze()  # what is there now stays shared with the forks
    return {"read": sorted(read), "problem": "; ".join(problems)}


def _serve(control: socket.socket) -> dict[str, Any]:
    """Fork for each order and answer with its exit code, until the other side hangs up. Returns the order in a fork."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if not message:
            os._exit(0)
        if not descriptors:  # the command, which was to be killed, had just ended
            continue
        pid = os.fork()
        if not pid:
            control.close()
            os.setsid()
            for number, descriptor in enumerate(descriptors[1:], 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            with os.fdopen(descriptors[0], "rb") as order:
                return json.load(order)
        for descriptor in descriptors:
            os.close(descriptor)
        ended = os.pidfd_open(pid)
        with selectors.DefaultSelector() as selector:
            selector.register(ended, selectors.EVENT_READ)
            selector.register(control, selectors.EVENT_READ)
            if ended not in {key.fileobj for key, _ in selector.select()}:
                os.killpg(pid, signal.SIGKILL)
        os.close(ended)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        control.send(str(code).encode())


if __name__ == "__main__":
    main()
