"""Running commands and taking their time and memory."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
# What was measured, what it was, what it is held against, and the ratio.
Row = tuple[str, str, str, str]
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")},
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "DO_NOT_TRACK": "1",
}


def command(argv: list[str], cwd: Path, **extra: str) -> None:
    """Run a command; a failure ends the benchmark with what it printed."""
    run(argv, cwd, **extra)


def run(argv: list[str], cwd: Path, **extra: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        argv, cwd=cwd, env={**ENVIRONMENT, **extra}, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"{argv}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def peak_memory(argv: list[str], cwd: Path, **extra: str) -> int:
    """Run a command; the most memory that it had, in bytes."""
    process = subprocess.Popen(
        argv, cwd=cwd, env={**ENVIRONMENT, **extra}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv}: exit code {process.returncode}")
    return usage.ru_maxrss * 1024


def median(action: Callable[[], object], repetitions: int = 5) -> float:
    """Seconds that an action takes, the median of some repetitions."""
    (found,) = in_turns(action, repetitions=repetitions)
    return found


def in_turns(*actions: Callable[[], object], repetitions: int = 5) -> list[float]:
    """Seconds that each of some actions takes, the median of some repetitions.

    They are measured in turns, so that whatever else the machine does falls on all of them.
    """
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(repetitions):
        for action, took in zip(actions, seconds, strict=True):
            started = time.perf_counter()
            action()
            took.append(time.perf_counter() - started)
    return [statistics.median(took) for took in seconds]


def ratio(value: float, to: float) -> str:
    """``0.25 ×``"""
    return f"{value / to:.2f} ×" if value / to >= 0.1 else f"{value / to:.3f} ×"
