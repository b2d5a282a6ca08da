"""The gcloud command: read what exists in Google Cloud, and change it."""

import json
import os
import re
import subprocess
import time
from typing import Any

from ..errors import UserError

# gcloud must not ask questions. It would, for instance, offer to enable an API when a resource is read.
_UNATTENDED = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API": "0"}
# What gcloud prints about a resource that does not exist, or whose API is not enabled.
_DISABLED = "SERVICE_DISABLED|has not been used in project"
_ABSENT = re.compile(rf"NOT_FOUND|not found|\b404\b|{_DISABLED}", re.IGNORECASE)
# It takes a minute or so until a new account or a newly enabled API works everywhere.
_NOT_READY = re.compile(rf"does not exist|Unknown service account|{_DISABLED}", re.IGNORECASE)
_PAUSES = (1, 2, 4, 8, 16, 32, 64)  # seconds


class GcloudError(UserError):
    """A gcloud command that failed. The message has the command and what it printed."""


def read(*arguments: str) -> Any:
    """Run a command that reads something, and parse the JSON that it prints.

    Returns:
        What it printed; None for a resource that does not exist.

    Raises:
        GcloudError: when the command fails for any other reason.
    """
    process = _run(*arguments, "--format=json")
    if not process.returncode:
        return json.loads(process.stdout or "null")
    if _ABSENT.search(process.stderr):
        return None
    raise _make_error(arguments, process)


def change(*arguments: str) -> None:
    """Run a command that changes something. It is retried if it needs something that was just created.

    Raises:
        GcloudError: when it fails.
    """
    for pause in (*_PAUSES, None):
        process = _run(*arguments)
        if not process.returncode:
            return
        if pause is None or not _NOT_READY.search(process.stderr):
            raise _make_error(arguments, process)
        time.sleep(pause)


def change_if_account_exists(*arguments: str) -> bool:
    """Run a command that changes something, once.

    Returns:
        Whether it succeeded. It does not if it names an account that does not exist.

    Raises:
        GcloudError: when it fails for any other reason.
    """
    process = _run(*arguments)
    if process.returncode and not re.search("does not exist", process.stderr):
        raise _make_error(arguments, process)
    return not process.returncode


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["gcloud", *arguments], env={**os.environ, **_UNATTENDED}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise GcloudError("gcloud is not installed here. See https://cloud.google.com/sdk/docs/install") from None


def _make_error(arguments: tuple[str, ...], process: subprocess.CompletedProcess[str]) -> GcloudError:
    return GcloudError(f"gcloud {' '.join(arguments)} failed:\n{process.stderr.strip()}")
