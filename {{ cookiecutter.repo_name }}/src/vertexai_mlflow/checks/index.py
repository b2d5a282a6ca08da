"""Whether the package index of a company has what the locks pin. It is the one that ``PIP_INDEX_URL`` names."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import requests

from ..errors import UserError
from ..image.docker import INDEX_VARIABLE
from .lock import read_pins

_SECONDS = 20
_AT_ONCE = 16
# The page of a package as JSON or, from an older index, as HTML. Both name each file's hash.
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"


def check_index(project: Path) -> str:
    """Check that the index has a file for each pin of the locks, one whose hash the lock names.

    Args:
        project: the project's folder.

    Raises:
        UserError: naming the pins that it does not give, or when it refuses to answer.
    """
    url = os.environ[INDEX_VARIABLE]
    locks = [project / name for name in ("requirements-launch.lock", "requirements.lock")]
    pins = {(name, version): hashes for lock in locks if lock.is_file() for name, version, hashes in read_pins(lock)}
    with requests.Session() as session, ThreadPoolExecutor(_AT_ONCE) as pool:
        pages = pool.map(lambda pin: _read_page(session, url, pin[0]), pins)
        missing = [
            "==".join(pin)
            for pin, page in zip(pins, pages, strict=True)
            if not any(sha256 in page for sha256 in pins[pin])
        ]
    host = urlsplit(url).hostname
    if missing:
        shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
        raise UserError(
            f"{host}, which {INDEX_VARIABLE} names, does not give what the locks pin: {shown}. Ask its administrator "
            "for these packages, or resolve the locks from what it has: make lock"
        )
    return f"{host} gives all {len(pins)} packages of the locks"


def _read_page(session: requests.Session, url: str, name: str) -> str:
    """What the index says about a package; empty if it does not know it."""
    try:
        answer = session.get(f"{url.rstrip('/')}/{name}/", headers={"Accept": _ACCEPT}, timeout=_SECONDS)
    except requests.RequestException as error:
        raise UserError(f"{urlsplit(url).hostname}, which {INDEX_VARIABLE} names: {type(error).__name__}.") from None
    if answer.status_code in (401, 403):
        raise UserError(
            f"{urlsplit(url).hostname}, which {INDEX_VARIABLE} names, answers {answer.status_code}. Its URL has a "
            "password, https://user:password@…; that of Artifact Registry is an access token, which ends after an hour."
        )
    return answer.text if answer.ok else ""
