"""Why Kedro's loader could not read the configuration: the file, the place in it, and how to fix it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml
from omegaconf import OmegaConf

from ..errors import short_path

# The loader's message → what to say after the key instead.
_FIXES = {
    r"UserError raised while resolving interpolation: (.+)": r": \1",
    r"Runtime parameter '(.+?)' not found.*": r" needs the runtime parameter '\1'; give it with --params \1=…",
    r"Globals key '(.+?)' not found.*": r" refers to '\1' of globals.yml, which does not exist. Add it there.",
}


def explain(error: Exception, files: Iterable[Path], root: Path) -> str:
    """Explain an error of the loader.

    Args:
        error: what the loader raised.
        files: what it read, those of the environment first.
        root: the project's folder; files are named by their path below it.
    """
    files = list(files)
    if problems := [f"{short_path(file, root)}{problem}" for file in files if (problem := _syntax_problem(file))]:
        return " ".join(problems)
    if isinstance(error, ValueError) and str(error).startswith("Duplicate keys"):
        lines = [f"{line}. Keep one of them." for line in str(error).replace(f"{root}/", "").splitlines()]
        return " ".join(lines)
    message = str(error).partition("\n")[0]
    problem = next(
        (re.sub(text, fix, message) for text, fix in _FIXES.items() if re.match(text, message)), f": {message}"
    )
    key = str(getattr(error, "full_key", None) or "")
    for file in files:
        if any(key.startswith(name) for name in _keys_with_references(file)):
            return f"{short_path(file, root)}: {key}{problem}"
    return f"{key or type(error).__name__}{problem}"


def _syntax_problem(file: Path) -> str:
    """Where and why a file by itself is invalid; empty if it is valid."""
    try:
        if OmegaConf.is_dict(OmegaConf.load(file)):
            return ""
    except yaml.MarkedYAMLError as error:
        return f", line {error.problem_mark.line + 1 if error.problem_mark else 1}: {error.problem}."
    except Exception as error:
        return f": {' '.join(str(error).split())}"
    return ": expected a mapping of names to values."


def _keys_with_references(file: Path) -> Iterator[str]:
    """The keys of a file whose values refer to something elsewhere."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    yield from (str(key) for key, value in content.items() if "${" in str(value)) if isinstance(content, dict) else ()
