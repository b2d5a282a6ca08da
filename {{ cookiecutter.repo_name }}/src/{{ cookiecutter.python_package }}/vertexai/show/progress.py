"""Changes of tasks' states → lines on the terminal, as the changes happen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from ..job import State, TaskRun

_COLOURS = {
    "SUCCEEDED": "green", "SKIPPED": "green", "FAILED": "red", "CANCELLED": "yellow", "NOT_TRIGGERED": "bright_black",
}  # fmt: skip


@contextmanager
def progress() -> Iterator[Callable[[TaskRun], None]]:
    """Yield a callback that prints a line for each task that ends and, on a terminal, shows those that run."""
    console = Console(highlight=False)
    running: dict[str, None] = {}

    with console.status("starting") as status:

        def show(run: TaskRun) -> None:
            name, error = f"{run.name:<40}", escape(run.error)
            if run.state == "RUNNING":
                if run.attempt > 1:
                    console.print(f"[yellow]{'RETRY':<13}[/] {name} attempt {run.attempt}: {error}", soft_wrap=True)
                running[run.name] = None
            elif run.state in _COLOURS:
                running.pop(run.name, None)
                seconds = f"{run.seconds:6.1f} s" if run.attempt else ""
                error = "taken from an earlier run" if run.state == State.SKIPPED else error
                line = f"[{_COLOURS[run.state]}]{run.state:<13}[/] {name} {seconds} {error}".rstrip()
                console.print(line, soft_wrap=True)
            status.update("running: " + ", ".join(running))

        yield show
