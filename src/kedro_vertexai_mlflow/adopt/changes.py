"""What happens to one file of the user's: its new text, and in words what was added, replaced, and left to the user."""

from dataclasses import dataclass, field


@dataclass
class Change:
    """A file that is merged.

    Args:
        text: the file's new content.
        added: what was added to it, in words.
        replaced: line number, or 0, and the words `old → new`, for each line of the user's that changes.
        left: line number, or 0, and a sentence, for each thing that the user has to do.
    """

    text: str
    added: list[str] = field(default_factory=list)
    replaced: list[tuple[int, str]] = field(default_factory=list)
    left: list[tuple[int, str]] = field(default_factory=list)


def line_of(text: str, part: str) -> int:
    """Return the number of the first line that has this part in it; 0 if none has."""
    return next((number for number, line in enumerate(text.splitlines(), 1) if part in line), 0)
