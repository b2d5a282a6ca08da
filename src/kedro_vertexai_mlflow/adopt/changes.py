"""What happens to one of the user's files: its new text, and in words what was added, replaced and left to the user."""

from dataclasses import dataclass, field


@dataclass
class Change:
    """A file that is merged.

    Args:
        text: the file's new content.
        additions: what was added to it, in words.
        replacements: line number, or 0, and the words `old → new`, for each of the user's lines that changes.
        todos: line number, or 0, and a sentence, for each thing that the user has to do.
    """

    text: str
    additions: list[str] = field(default_factory=list)
    replacements: list[tuple[int, str]] = field(default_factory=list)
    todos: list[tuple[int, str]] = field(default_factory=list)


def find_line(text: str, part: str) -> int:
    """Return the number of the first line that contains a text; 0 if none does."""
    return next((number for number, line in enumerate(text.splitlines(), 1) if part in line), 0)
