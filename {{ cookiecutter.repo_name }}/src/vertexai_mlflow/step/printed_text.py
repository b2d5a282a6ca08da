"""The end of what a step prints, kept in memory for the run's artifact when the step fails.

What a library prints without Python's streams is in the platform's log only. Nothing is held back from that one: a pipe
or a thread in between could lose the last lines of a step that is killed.
"""

import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from ..errors import without_secrets

# Characters, the last megabyte of most logs.
_LIMIT = 2**20


class PrintedText:
    """The last part of a text that grows."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit, self._size = limit, 0
        self._parts: deque[str] = deque()

    def add(self, part: str) -> None:
        """Add to the end, and forget as much of the beginning as is too much."""
        self._parts.append(part[-self._limit :])
        self._size += len(self._parts[-1])
        while self._size - len(self._parts[0]) >= self._limit:
            self._size -= len(self._parts.popleft())

    def __str__(self) -> str:
        return "".join(self._parts)[-self._limit :]


class _Around:
    """A stream whose texts go through ``write`` on their way to another one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, part: str) -> int:
        return self._stream.write(part)

    def writelines(self, parts: Iterable[str]) -> None:
        for part in parts:
            self.write(part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Copied(_Around):
    """A stream whose text is also added to ``PrintedText``."""

    def __init__(self, stream: TextIO, text: PrintedText) -> None:
        super().__init__(stream)
        self._text = text

    def write(self, part: str) -> int:
        self._text.add(part)
        return super().write(part)


class _WithoutSecrets(_Around):
    """A stream in whose text the values of known secrets are hidden."""

    def write(self, part: str) -> int:
        self._stream.write(without_secrets(part))
        return len(part)


def hide_secrets() -> None:
    """Print and log no secret from now on, until this process ends with its last traceback."""
    _replace_streams({stream: _WithoutSecrets(stream) for stream in (sys.stdout, sys.stderr)})


@contextmanager
def printed_text() -> Iterator[PrintedText]:
    """Keep the end of what Python prints and logs inside of the ``with`` statement."""
    text, streams = PrintedText(), (sys.stdout, sys.stderr)
    originals = _replace_streams({stream: _Copied(stream, text) for stream in streams})
    try:
        yield text
    finally:
        sys.stdout, sys.stderr = streams
        for handler, stream in originals.items():
            handler.stream = stream


def _replace_streams(copies: Mapping[Any, Any]) -> dict[Any, Any]:
    """Put others in the place of the two streams, and return the log handlers of which the stream was replaced."""
    loggers = [logging.getLogger(name) for name in (None, *logging.root.manager.loggerDict)]
    # A handler keeps the stream that there was when logging was configured.
    handlers: list[Any] = [handler for logger in loggers for handler in logger.handlers]
    originals = {handler: handler.stream for handler in handlers if getattr(handler, "stream", None) in copies}
    sys.stdout, sys.stderr = copies[sys.stdout], copies[sys.stderr]
    for handler, stream in originals.items():
        handler.stream = copies[stream]
    return originals
