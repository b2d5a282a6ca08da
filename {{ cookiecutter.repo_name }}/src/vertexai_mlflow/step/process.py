"""Settings of a step's process that a pipeline spec cannot express: its timeout and its host aliases."""

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# Seconds that a step has left to report its timeout.
_GRACE = 30.0


class StepTimeout(Exception):
    """The step ran longer than ``run_config.resources`` allows."""


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Limit the time that the code inside may take, in seconds; 0 is no limit.

    Raises:
        StepTimeout: when the time is up. If the code does not return to Python, the process is ended instead.
    """
    if not seconds:
        yield
        return

    def stop(*_: object) -> None:
        raise StepTimeout(f"the step ran longer than its timeout of {seconds} s")

    killer = threading.Timer(seconds + _GRACE, os._exit, [1])
    killer.daemon = True
    killer.start()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        killer.cancel()


def alias(addresses: Mapping[str, str]) -> None:
    """Make Python resolve these host names, which no name server knows (``network.host_aliases``).

    Only root may write /etc/hosts, and a container's user is not root. gRPC and child processes look up names without
    Python, so they do not see the aliases.

    Args:
        addresses: host name → IP address.
    """
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return look_up(addresses.get(name, host), *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
