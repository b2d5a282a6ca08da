"""A step's timeout. Pipeline specs have none, so the step's own process keeps it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
