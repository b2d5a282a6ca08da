"""Merge .gitignore, .gitattributes and .dockerignore: the user's file and the template's go in, one comes out."""

from ..files import PLATFORM
from .changes import Change


def merge_gitignore(theirs: str, ours: str) -> Change:
    """Add the template's lines that are missing at the end. None of them undoes a line of the user's."""
    lines = [
        line for line in ours.splitlines() if line and not line.startswith("#") and line not in theirs.splitlines()
    ]
    # Kedro's own file has other patterns for these, and an exception of the template's would undo them.
    lines = [line for line in lines if not line.startswith(("!", "data/"))]
    if "credentials" in theirs:
        lines = [line for line in lines if not line.startswith("conf/")]
    exception = f"!/{PLATFORM}/**"
    if exception not in theirs.splitlines():
        # Patterns such as `local/`, `lib/` and `*.json` would ignore parts of the platform.
        lines += ["", "# The template's package is whole, whatever the lines above say.", exception, "__pycache__/"]
    change = Change(theirs)
    if lines:
        change.text = "\n".join([theirs.rstrip(), "", "# Vertex AI, MLflow and CI", *lines, ""])
        change.additions.append(f"{len(lines)} lines for what local runs and CI jobs leave behind")
    return change


def merge_gitattributes(theirs: str, ours: str) -> Change:
    """Add the template's line about its package."""
    change = Change(theirs)
    if PLATFORM not in theirs:
        change.text = f"{theirs.rstrip()}\n\n{ours}".lstrip()
        change.additions.append(f"{PLATFORM} is marked as vendored")
    return change


def merge_dockerignore(theirs: str, ours: str) -> Change:
    """Put the template's lines first. What the user keeps out of the image comes later and stays out."""
    if ours in theirs:
        return Change(theirs)
    additions = ["what the image needs, at the top; your lines come later and take precedence"]
    return Change(f"{ours.rstrip()}\n\n{theirs}", additions)
