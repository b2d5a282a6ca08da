"""What the process of a step keeps to itself: its timeout, as pipeline specs have none, and its host aliases."""

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

# Seconds that are left to say what happened.
_GRACE = 30.0


class StepTimeout(Exception):
    """The step ran longer than ``run_config.resources`` allows."""


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Let the code inside run for so many seconds; 0 is for any time.

    Raises:
        StepTimeout: when the time is up. If the code never comes back to Python, the process ends instead.
    """
    if not seconds:
        yield
        return

    def stop(*_: object) -> None:
        raise StepTimeout(f"the step ran longer than its timeout of {seconds} s")

    insist = threading.Timer(seconds + _GRACE, os._exit, [1])
    insist.daemon = True
    insist.start()
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        insist.cancel()


def alias(addresses: Mapping[str, str]) -> None:
    """Make Python find hosts at these addresses from now on, which no name server knows (``network.host_aliases``).

    Only root may write /etc/hosts, and a container's user is not root. Whatever looks up names without Python, gRPC
    and child processes, does not see the aliases.

    Args:
        addresses: host name → IP address.
    """
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return look_up(addresses.get(name, host), *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
