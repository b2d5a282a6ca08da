"""A ``python`` that starts in milliseconds: each call is a fork of one process that has the heavy imports behind it.

What runs in it is a process of its own, with its own arguments, working directory, environment and output, as the
executor starts it; only the imports are not paid again.
"""

import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    order = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(order).to_bytes(8, "big")], [1, 2])
    server.sendall(order)
    code = server.recv(1)
sys.exit(code[0] if code else 137)
"""


@contextmanager
def warm_python(folder: Path, modules: Sequence[str], environment: Mapping[str, str]) -> Iterator[Path]:
    """Start the process; yields the command, which takes ``-m module arguments``.

    Args:
        folder: where command and socket are made.
        modules: what is imported beforehand.
        environment: environment variables of the process.
    """
    address, command = folder / "python.socket", folder / "python"
    command.write_text(_CLIENT.format(python=sys.executable, address=str(address)))
    command.chmod(0o755)
    argv = [sys.executable, __file__, str(address), *modules]
    server = subprocess.Popen(argv, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not address.exists():
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the warm python does not start")
            time.sleep(0.05)
        yield command
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(10)


def serve(address: str, modules: Sequence[str]) -> None:
    """Import, then fork for each connection."""
    for module in modules:
        __import__(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{address}.new")
        listening.listen(16)
        Path(f"{address}.new").rename(address)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                code = 1
                with contextlib.suppress(BaseException):
                    code = _run(connection)
                sys.stdout.flush()
                sys.stderr.flush()
                connection.sendall(bytes([code]))
                os._exit(code)
            connection.close()


def _run(connection: socket.socket) -> int:
    size, descriptors, _flags, _address = socket.recv_fds(connection, 8, 2)
    order = b""
    while len(order) < int.from_bytes(size, "big"):
        order += connection.recv(1 << 16)
    argv, cwd, environment = json.loads(order)
    for number, descriptor in zip((1, 2), descriptors, strict=True):
        os.dup2(descriptor, number)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = argv[1:]
    # As for python -m.
    sys.path[:1] = [cwd, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    try:
        runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
