"""Show on the terminal how each task ends, and which tasks run at the moment."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.text import Text

from ..contract.job import State, TaskRun
from ..errors import shown
from .terminal import console

_COLOURS = {
    "SUCCEEDED": "green", "SKIPPED": "green", "FAILED": "red", "CANCELLED": "yellow", "NOT_TRIGGERED": "bright_black",
}  # fmt: skip


class _Running:
    """The tasks that run, each with the seconds since it started, rendered whenever the terminal is refreshed."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def __rich__(self) -> Text:
        now = time.monotonic()
        running = [f"{name} {now - since:.0f} s" for name, since in list(self.since.items())]
        return Text(shown(f"running: {', '.join(running)}") if running else "starting")


@contextmanager
def progress() -> Iterator[Callable[[TaskRun], None]]:
    """Yield a callback that prints a line for each task that ends and, on a terminal, shows those that run."""
    terminal, running = console(), _Running()

    def print_line(state: str, colour: str, text: str) -> None:
        terminal.print(Text.assemble((f"{state:<13} ", colour), shown(text.rstrip())), soft_wrap=True)

    def show(run: TaskRun) -> None:
        if not run.is_shown:
            return
        if run.state == State.RUNNING:
            if run.attempt > 1:
                print_line("RETRY", "yellow", f"{run.name:<40} attempt {run.attempt}: {run.error}")
            running.since[run.name] = time.monotonic()
        elif run.state in _COLOURS:
            running.since.pop(run.name, None)
            seconds = f"{run.seconds:6.1f} s" if run.attempt else ""
            note = f"taken from {run.origin or 'an earlier run'}" if run.state == State.SKIPPED else run.error
            print_line(run.state, _COLOURS[run.state], f"{run.name:<40} {seconds} {note}")

    with terminal.status(running):
        yield show
