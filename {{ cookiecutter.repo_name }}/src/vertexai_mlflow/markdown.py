"""Text from outside as Markdown, in which it is nothing but text: for pages of CI and for MLflow's page of a run."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from .errors import masked, shown

# The most characters of an error; the log has all of it.
_LIMIT = 1000


def as_line(text: str, limit: int = _LIMIT) -> str:
    """A text on one line. GitHub shows nothing of a page that is too long."""
    line = " ".join(shown(text).split())
    return line if len(line) <= limit else f"{line[:limit]} … (and {len(line) - limit} characters more)"


def as_cell(text: str, limit: int = _LIMIT) -> str:
    """A text for a cell of a table, where none of it is Markdown, HTML or a formula."""
    return re.sub(r"[\\`*\[\]<>|~$&!]|(?<!\w)_|_(?!\w)", r"\\\g<0>", as_line(text, limit))


def as_code(text: str) -> str:
    """A text in the font of code, without what would end that; empty if the text is."""
    line = as_line(text).replace("`", "'")
    return f"`{line}`" if line else ""


def as_link(text: str, url: str) -> str:
    """A link; only the text if the address is none that a browser opens."""
    return f"[{as_cell(text)}]({as_url(url)})" if url.startswith("http") else as_cell(text)


def as_url(url: str) -> str:
    """A URL without characters that would end it in Markdown or in a terminal."""
    return quote(masked(url), safe=":/?#@!$&'*+,;=%~", errors="replace")


def as_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
