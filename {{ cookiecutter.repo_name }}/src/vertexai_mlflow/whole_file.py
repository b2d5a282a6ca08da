"""Files that appear whole or not at all."""

import os
from contextlib import suppress
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write a file of which nobody ever reads a part. A failure leaves the old file as it was, and nothing beside it.

    Raises:
        OSError: when the file cannot be written.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise
