"""Texts from outside, numbers and times as pieces of HTML that nothing in them can leave, and of a planned size."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import TypeVar
from urllib.parse import quote

from ..errors import masked, shown

Item = TypeVar("Item")

# Above this many seconds people count in minutes.
_MINUTE, _HOUR = 60, 3600


def as_text(text: str, limit: int = 300) -> str:
    """A text as text: no markup, no secret, nothing that cannot be seen, and at most so many characters."""
    visible = shown(text[: 4 * limit + 1000]).strip("\n")
    cut = len(visible) > limit or len(text) > 4 * limit + 1000
    return escape(f"{visible[:limit]}…" if cut else visible)


def as_end(text: str, limit: int) -> str:
    """The last so many characters of a text, as text; for logs, whose end is what people look for."""
    visible = shown(text[-4 * limit :]).rstrip("\n")
    return escape(visible if len(visible) <= limit else f"…{visible[-limit:]}")


def as_value(name: str, text: str) -> str:
    """The value of something that has a name. After the name of a password it is masked."""
    visible, before = shown(f"{name}={text}"[:2000]), f"{shown(name)}="
    return as_text(visible.removeprefix(before) if visible.startswith(before) else text)


def as_link(label: str, url: str) -> str:
    """A link, if the address leads to a page in the web; the address as text, if it does not."""
    if not url.startswith(("https://", "http://")):
        return f"<code>{as_text(url)}</code>"
    address = escape(quote(masked(url[:2000]), safe=":/?#@!$&'*+,;=%~", errors="replace"))
    return f'<a href="{address}" rel="noreferrer">{as_text(label)}</a>'


def as_duration(seconds: float) -> str:
    """``3.1 s``, ``2 min 5 s``, ``1 h 2 min``"""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def as_time(time: datetime) -> str:
    """``2026-11-29 10:08:23 UTC``, because nobody knows where the page is read."""
    return f"<time>{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC</time>"


def size(markup: str) -> int:
    """Its bytes in the file."""
    return len(markup.encode())


def fitted(items: Sequence[Item], make: Callable[[Item], str], limit: int, more: Callable[[int], str]) -> str:
    """The pieces of as many items as fit into so many bytes, and then what ``more`` says of how many do not."""
    kept: list[str] = []
    for item in items:
        piece = make(item)
        limit -= size(piece)
        if limit < 0:
            return "".join([*kept, more(len(items) - len(kept))])
        kept.append(piece)
    return "".join(kept)
