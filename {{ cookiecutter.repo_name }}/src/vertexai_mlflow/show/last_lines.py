"""The log of a failed step → the lines that say why: the user's own frames in the traceback, and the error's message.

What Kedro, this platform and libraries have done in between is left to the log.
"""

import re
from collections.abc import Sequence
from pathlib import Path

_TRACEBACK = "Traceback (most recent call last):"
# What Python prints between errors that have caused each other, with an empty line around it.
_LINKS = ("The above exception was the direct cause", "During handling of the above exception")
_FRAME = re.compile(r'  File "(.+?)", line \d+')
# Files of installed packages, of Python itself, and of this platform.
_NOT_OWN = re.compile(r"<|.*[/\\](site-packages|dist-packages|python3\.\d+|vertexai_mlflow)[/\\]")
# How the lines of a logging module begin. After one of them, a traceback is not the end.
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")
# At most so many lines are shown of a message, or of a log without a traceback; and so many frames.
_LINES, _FRAMES = 15, 5


def last_lines(log: Sequence[str], folder: Path | None = None) -> list[str]:
    """Choose the lines to show when a step has failed.

    Args:
        log: the lines of its log, or the last few hundred of them.
        folder: paths of files in it are shown relative to it.

    Returns:
        The user's own frames and the message of the traceback at the end of the log. If there is no such traceback,
        because the process was killed or logs errors in another form, the last lines of the log.
    """
    errors: list[tuple[list[list[str]], list[str]]] = []  # the frames and the message of each, the last one first
    end = len(log)
    for start in reversed([number for number, line in enumerate(log) if line == _TRACEBACK]):
        errors.append(_split(log[start + 1 : end]))
        if start < 3 or not log[start - 2].startswith(_LINKS):
            break
        end = start - 3
    if not errors or any(map(_LOGGED.match, errors[0][1])):
        return list(log[-_LINES:])
    # What a library has made of an error has no frames of the user: show the error itself as well.
    frames, message = next((error for error in errors if error[0]), errors[0])
    message = message[:_LINES] + (errors[0][1][:_LINES] if message is not errors[0][1] else [])
    lines = [line for frame in frames[-_FRAMES:] for line in frame] + message
    return [line.replace(f'File "{folder}/', 'File "', 1) for line in lines]


def _split(traceback: Sequence[str]) -> tuple[list[list[str]], list[str]]:
    """The user's own frames of a traceback, each with its lines, and the message."""
    frames: list[list[str]] = []
    is_own = False
    for number, line in enumerate(traceback):
        if not line.startswith("  "):
            return frames, list(traceback[number:])
        if frame := _FRAME.match(line):
            is_own = not _NOT_OWN.match(frame[1])
            frames += [[]] if is_own else []
        if is_own:
            frames[-1].append(line)
    return frames, []
