"""A real MLflow server on a free port of loopback, for tests, benchmarks and pictures."""

import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 180  # other tests run beside it


@contextmanager
def mlflow_server(
    mlflow: Path, folder: Path, environment: Mapping[str, str], store: str = "sqlite:///store.db"
) -> Iterator[str]:
    """Start the server, wait until it answers, and stop it at the end.

    Args:
        mlflow: the ``mlflow`` command.
        folder: its working directory, where it keeps store, artifacts and log.
        environment: its environment variables.
        store: backend store URI.

    Yields:
        Its address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    argv = [mlflow, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += ["--backend-store-uri", store, "--artifacts-destination", "artifacts"]
    # Nobody here submits a job to MLflow, and each of the processes that wait for one would import MLflow anew.
    environment = {**environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            argv, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"{url}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mlflow server does not answer:\n{(folder / 'server.log').read_text()}")
            time.sleep(0.1)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except OSError:
        return False
    return True
