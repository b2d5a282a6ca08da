"""How many seconds each part of a step takes. ``run-local --profile`` reads them from the last line of its log."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from kedro.framework.hooks import hook_impl

from ..contract import names


class Timing:
    """A stopwatch for the parts of a step, and Kedro hooks that start and stop it for nodes and datasets.

    Attributes:
        began: ``time.monotonic()`` when the step began.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._parts: dict[str, float] = defaultdict(float)
        self._since = 0.0

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time of the code inside to a part."""
        since = time.monotonic()
        try:
            yield
        finally:
            self._parts[part] += time.monotonic() - since

    def print(self) -> None:
        """Print the line; the time outside of all parts is that of Kedro's session."""
        total = time.monotonic() - self.began
        parts = {**self._parts, "session": total - sum(self._parts.values())}
        print(names.TIMING + json.dumps({name: round(seconds, 2) for name, seconds in parts.items()}), flush=True)

    @hook_impl
    def before_node_run(self) -> None:
        """A node begins, or a dataset is about to be loaded or saved."""
        self._since = time.monotonic()

    before_dataset_loaded = before_dataset_saved = before_node_run

    @hook_impl
    def after_node_run(self) -> None:
        """A node has ended."""
        self._parts["nodes"] += time.monotonic() - self._since

    @hook_impl
    def after_dataset_loaded(self) -> None:
        """A dataset has been loaded or saved."""
        self._parts["data"] += time.monotonic() - self._since

    after_dataset_saved = after_dataset_loaded
