"""Errors that the user can fix: two exceptions, each with a message that says what is wrong, where, and what to do.

Messages quote text from outside: names, parameters, what a library or a server says. ``shown`` makes such a text safe.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from inspect import isfunction, signature
from pathlib import Path
from traceback import extract_tb
from urllib.parse import quote

# A fact that nobody has filled in yet, as the template leaves it: <gcp-project-id>.
PLACEHOLDER = re.compile(r"<[^<>]+>")
# What people on Windows are told. `make`, process groups and forks are what this needs of a system.
USE_WSL = "Use WSL 2, where everything works as on Linux: https://learn.microsoft.com/windows/wsl/install"

# The user and password of a URL, and tokens by the words before them or by how their issuers let them begin.
_SECRET = re.compile(
    r"(://)[^/\s\"'\\]+@"
    r"|((?i:bearer |(?:password|secret|token)=))[^\s&,;\"'\\]+"
    r"|(?<![\w.-])(?:ya29\.|gh[oprsu]_|github_pat_|glpat-|AIza|xox[abprs]-)[\w.-]{16,}"
    r"|(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]*"
    r"|-----BEGIN[ A-Z]*PRIVATE KEY-----[^\"'-]*"
)
# The values of secrets that this process has been given.
_KEPT_OUT: set[str] = set()
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
# What a terminal obeys or does not show: control characters, marks that change the direction of text, lone surrogates.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
# What GitHub's runner obeys in the output of a job. https://docs.github.com/actions/reference/workflow-commands
_COMMAND = re.compile(r"^([^\S\n]*)(?=::)|(?<=##)(?=\[)", re.MULTILINE)


class UserError(Exception):
    """A mistake that the user can correct. Commands print the message without a traceback and exit with code 1."""


class AuthorizationError(SystemExit):
    """There is no usable token. Ends the process with the message and exit code 1.

    It is deliberately not an ``Exception``: MLflow catches those and then sends the request without its header.
    """


def keep_out(secret: str) -> None:
    """Let no message show this value, or a line of it, from now on."""
    lines = [line.strip() for line in (secret, *secret.splitlines())]
    # Of what is very short, every text would be full.
    for line in lines:
        if len(line) >= 6:
            # Also as a URL, JSON and Python write it.
            quoted = (json.dumps(line), json.dumps(line, ensure_ascii=False), repr(line), ascii(line))
            _KEPT_OUT.update((line, quote(line, safe=""), *(text[1:-1] for text in quoted)))


def without_secrets(text: str) -> str:
    """A text without the values of secrets that this process has been given."""
    for secret in sorted(_KEPT_OUT, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def masked(text: str) -> str:
    """A text without what looks like a token or a password, and without known secrets."""
    text = without_secrets(text)
    return _SECRET.sub(lambda match: match[1] or f"{match[2] or ''}***", text)


def shown(text: str) -> str:
    """Make untrusted text safe to print, to log, or to store in a tag.

    Colours and what looks like a secret are left out. What would not be seen is written as Python does: ``\\x1b``.
    """
    lines = _COLOUR.sub("", masked(text)).replace("\r\n", "\n").replace("\r", "\n")
    visible = _UNSEEN.sub(lambda match: ascii(match[0])[1:-1], lines)
    return _COMMAND.sub(r"\1\\", visible)


def short_path(path: Path, folder: Path) -> str:
    """A path as a message names it: relative to a folder, if it is below it."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest of the known words; a list of all of them when none is near."""
    names = sorted(names)
    nearest = get_close_matches(word, names, n=1)
    if nearest:
        return f" Did you mean '{nearest[0]}'?"
    return f" Known: {', '.join(names)}." if names else ""


def not_filled_in(places: Iterable[str]) -> str:
    """The message about placeholders, the same from every command.

    Args:
        places: where each one stands, ``conf/cloud/globals.yml: client_id: <oauth-client-id>``.
    """
    return f"Not filled in yet: {'; '.join(places)}"


def in_own_code(error: Exception, source: Path) -> str:
    """What an error says that the project's own code has raised: ``src/…/nodes.py, line 7: NameError: …``

    Args:
        error: the error.
        source: the project's folder ``src``. The deepest place below it is named, and of a syntax error its own.
    """
    if isinstance(error, ImportError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # Kedro's find_pipelines wraps what the import of a pipeline's module raises
    message = str(error)
    frames = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames, message = [*frames, (str(error.filename), error.lineno)], error.msg
    source, platform = source.resolve(), Path(__file__).resolve().parent
    files = [(Path(name).resolve(), line) for name, line in frames]
    places = [
        (file.relative_to(source), line)
        for file, line in files
        if file.is_relative_to(source) and not file.is_relative_to(platform)
    ]
    where = "".join(f"{source.name}/{file}, line {line}: " for file, line in places[-1:])
    modules = [".".join(file.with_suffix("").parts[:3]) for file, _line in places if file.parts[1:2] == ("pipelines",)]
    hint = ""
    if "create_pipeline() missing" in message:
        modules = [name for name, module in sys.modules.items() if _needs_arguments(module)]
        hint = ". Kedro calls create_pipeline without arguments, so give each of them a default."
    module = f" (pipeline module {modules[0]})" if modules else ""
    return f"{where}{type(error).__name__}: {' '.join(message.split())}{module}{hint}"


def _needs_arguments(module: object) -> bool:
    """Whether a module has a ``create_pipeline`` that cannot be called without arguments."""
    function = getattr(module, "create_pipeline", None)
    parameters = signature(function).parameters.values() if isfunction(function) else []
    return any(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


@contextmanager
def launch_extra() -> Iterator[None]:
    """Around an import that a step's image does not have.

    Raises:
        UserError: when it is not installed here either.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("vertexai_mlflow"):
            raise
        raise UserError(
            f"{error.name} is not installed. Install what launching needs: pip install -e '.[launch]'"
        ) from None
