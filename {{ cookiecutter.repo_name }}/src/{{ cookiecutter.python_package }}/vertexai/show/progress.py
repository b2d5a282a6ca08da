"""Changes of tasks' states → lines on the terminal as they come, and what runs at the moment."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ..contract.job import State, TaskRun

_COLOURS = {
    "SUCCEEDED": "green", "SKIPPED": "green", "FAILED": "red", "CANCELLED": "yellow", "NOT_TRIGGERED": "bright_black",
}  # fmt: skip


class _Running:
    """The tasks that run, each with the seconds since it was started; asked anew whenever the terminal is refreshed."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def __rich__(self) -> Text:
        now = time.monotonic()
        running = [f"{name} {now - since:.0f} s" for name, since in list(self.since.items())]
        return Text(f"running: {', '.join(running)}" if running else "starting")


@contextmanager
def progress() -> Iterator[Callable[[TaskRun], None]]:
    """Yield a callback that prints a line for each task that ends and, on a terminal, shows those that run."""
    console = Console(highlight=False)
    running = _Running()

    def show(run: TaskRun) -> None:
        if not run.is_shown:
            return
        name, error = f"{escape(run.name):<40}", escape(run.error)
        if run.state == State.RUNNING:
            if run.attempt > 1:
                console.print(f"[yellow]{'RETRY':<13}[/] {name} attempt {run.attempt}: {error}", soft_wrap=True)
            running.since[run.name] = time.monotonic()
        elif run.state in _COLOURS:
            running.since.pop(run.name, None)
            seconds = f"{run.seconds:6.1f} s" if run.attempt else ""
            error = f"taken from {escape(run.origin)}" if run.state == State.SKIPPED else error
            line = f"[{_COLOURS[run.state]}]{run.state:<13}[/] {name} {seconds} {error}"
            console.print(line.rstrip(), soft_wrap=True)

    with console.status(running):
        yield show
