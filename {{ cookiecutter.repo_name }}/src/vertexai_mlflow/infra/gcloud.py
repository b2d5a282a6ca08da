"""The gcloud command: read what exists in Google Cloud, and change it."""

import json
import os
import re
import subprocess
import time
from typing import Any

from ..errors import UserError

# gcloud must not ask questions. Otherwise it would, for instance, offer to enable an API when a resource is read.
_UNATTENDED = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API": "0"}
# What gcloud prints about a resource that does not exist, or whose API is not enabled.
_DISABLED = "SERVICE_DISABLED|has not been used in project"
_ABSENT = re.compile(rf"NOT_FOUND|not found|\b404\b|{_DISABLED}", re.IGNORECASE)
# It takes a minute or so until a new account or a newly enabled API is known everywhere.
_NOT_YET = re.compile(rf"does not exist|Unknown service account|{_DISABLED}", re.IGNORECASE)
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
    done = _call(*arguments, "--format=json")
    if not done.returncode:
        return json.loads(done.stdout or "null")
    if _ABSENT.search(done.stderr):
        return None
    raise _failure(arguments, done)


def change(*arguments: str) -> None:
    """Run a command that changes something. It is tried again if it needs something that was created a moment ago.

    Raises:
        GcloudError: when it fails.
    """
    for pause in (*_PAUSES, None):
        done = _call(*arguments)
        if not done.returncode:
            return
        if pause is None or not _NOT_YET.search(done.stderr):
            raise _failure(arguments, done)
        time.sleep(pause)


def change_if_known(*arguments: str) -> bool:
    """Run a command that changes something, once.

    Returns:
        Whether it is done; not if it names an account that does not exist.

    Raises:
        GcloudError: when it fails for any other reason.
    """
    done = _call(*arguments)
    if done.returncode and not re.search("does not exist", done.stderr):
        raise _failure(arguments, done)
    return not done.returncode


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["gcloud", *arguments], env={**os.environ, **_UNATTENDED}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise GcloudError("gcloud is not installed here. See https://cloud.google.com/sdk/docs/install") from None


def _failure(arguments: tuple[str, ...], done: subprocess.CompletedProcess[str]) -> GcloudError:
    return GcloudError(f"gcloud {' '.join(arguments)} failed:\n{done.stderr.strip()}")
