"""What is wrong in the configuration that Kedro's loader could not read: the file, the place in it, and what to do."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from omegaconf import OmegaConf

_CURES = (
    (r"Runtime parameter '(.+?)' not found", r" needs the runtime parameter '\1'; give it with --params \1=…"),
    (r"Globals key '(.+?)' not found", r" takes '\1' from globals.yml, where it is missing. Add it there."),
)


def unreadable(error: Exception, files: Iterable[Path], root: Path) -> str:
    """Explain an error of the loader.

    Args:
        error: what the loader raised.
        files: what it read, those of the environment first.
        root: the project's folder; files are named as they are found from there.
    """
    files = list(files)
    if broken := [f"{file.relative_to(root)}{said}" for file in files if (said := _broken(file))]:
        return " ".join(broken)
    if isinstance(error, ValueError) and str(error).startswith("Duplicate keys"):
        lines = [f"{line}. Keep one of them." for line in str(error).replace(f"{root}/", "").splitlines()]
        return " ".join(lines)
    said = str(error).partition("\n")[0]
    said = next((re.sub(f"{what}.*", cure, said) for what, cure in _CURES if re.match(what, said)), f": {said}")
    key = str(getattr(error, "full_key", None) or "")
    for file in files:
        if any(key.startswith(name) for name in _open_keys(file)):
            return f"{file.relative_to(root)}: {key}{said}"
    return f"{key or type(error).__name__}{said}"


def _broken(file: Path) -> str:
    """Where a file itself is not well-formed, and why; empty if it is."""
    try:
        if OmegaConf.is_dict(OmegaConf.load(file)):
            return ""
    except yaml.MarkedYAMLError as error:
        return f", line {error.problem_mark.line + 1 if error.problem_mark else 1}: {error.problem}."
    except Exception as error:
        return f": {' '.join(str(error).split())}"
    return ": names with their values are needed here, and it holds something else."


def _open_keys(file: Path) -> Iterator[str]:
    """The keys of a file that take something from elsewhere."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    yield from (str(key) for key, value in content.items() if "${" in str(value)) if isinstance(content, dict) else ()
