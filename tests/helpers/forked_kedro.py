"""``kedro`` commands as forks of one interpreter, which has imported once what most of them need.

The interpreter is the platform's own fork server, which starts steps in the same way; only what it imports is said here.
A command is the same code as a cold one, the console script, in a process of its own, with its own arguments,
environment, working directory, streams and exit code. What differs is that most packages have been imported, so a test
that is about the start of a command must start it cold.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Pipe
from multiprocessing.reduction import send_handle
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Event, Lock, Timer

from vertexai_mlflow.local import fork_server
from vertexai_mlflow.local.preloaded import Fork

# Imports look at these, so they count from the start of a process.
_FROM_THE_START = ("FSSPEC_", "HOME", "LANG", "LC_", "MPL", "PYTHON", "XDG_")
# Left out is what looks at variables that tests vary, or at the working directory: google-auth for the metadata server,
# gcsfs for the emulator, Kedro for its logging configuration. So `kfp` and `kedro.framework` are not in this list, but
# what they import is.
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
    """The interpreter.

    Args:
        environment: its environment variables.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._lock = Lock()
        self._control, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, fork_server.__file__, str(theirs.fileno())], cwd="/", env=self._environment,
                pass_fds=[theirs.fileno()], start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._control.send({"modules": _IMPORTED, "own": []})
        reason = self._control.recv()["reason"]
        assert not reason, f"The interpreter for forked commands: {reason}"

    def can_run(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment would have imported the same from the start."""
        differ = {name for name, _ in environment.items() ^ self._environment.items()}
        return not any(name.startswith(_FROM_THE_START) for name in differ)

    def run(
        self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Do what ``subprocess.run`` does with ``capture_output``, ``text`` and nothing on stdin.

        Raises:
            subprocess.TimeoutExpired: after so many seconds. The command is killed, with what it has started.
        """
        with NamedTemporaryFile() as stdout, NamedTemporaryFile() as stderr:
            order = {
                "argv": ["forked_command", json.dumps([stderr.name, *argv])],
                "cwd": str(cwd),
                "environment": {**environment, "PYTHONPATH": str(Path(__file__).parent)},
            }
            report, theirs = Pipe()
            with theirs, self._lock:
                for descriptor in (theirs.fileno(), stdout.fileno()):
                    send_handle(self._control, descriptor, self._process.pid)
                self._control.send(order)
            fork = Fork(report, lambda modules: None)
            late = Event()
            timer = Timer(timeout, lambda: (late.set(), os.killpg(fork.pid, signal.SIGKILL)))
            timer.start()
            try:
                code = fork.wait()
            except BaseException:
                os.killpg(fork.pid, signal.SIGKILL)
                raise
            finally:
                timer.cancel()
            if late.is_set():
                raise subprocess.TimeoutExpired(list(argv), timeout)
            texts = [Path(stream.name).read_text() for stream in (stdout, stderr)]
        return subprocess.CompletedProcess(list(argv), code, *texts)

    def close(self) -> None:
        """End the interpreter."""
        self._control.close()
        self._process.wait()
