"""The gcloud command: what is there, and making it otherwise."""

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

_PROJECT = Path(__file__).resolve().parents[1]
# Nobody is asked anything: looking would otherwise offer to enable an API.
_UNATTENDED = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API": "0"}
# What gcloud says of a thing that is not there, or whose API is not enabled.
_DISABLED = "SERVICE_DISABLED|has not been used in project"
_ABSENT = re.compile(rf"NOT_FOUND|not found|\b404\b|{_DISABLED}", re.IGNORECASE)
# New accounts and newly enabled APIs are known everywhere after a minute or so.
_NOT_YET = re.compile(rf"does not exist|Unknown service account|{_DISABLED}", re.IGNORECASE)
_PAUSES = (1, 2, 4, 8, 16, 32, 64)  # seconds


class GcloudError(Exception):
    """A command that failed, and what it said."""


def read(*arguments: str) -> Any:
    """What a command prints as JSON.

    Returns:
        None for a thing that is not there.

    Raises:
        GcloudError: when Google says anything else than that.
    """
    done = _call(*arguments, "--format=json")
    if not done.returncode:
        return json.loads(done.stdout or "null")
    if _ABSENT.search(done.stderr):
        return None
    raise _failure(arguments, done)


def change(*arguments: str) -> None:
    """Run a command that changes something; patiently, where it needs what was made a moment ago.

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


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["gcloud", *arguments], cwd=_PROJECT, env={**os.environ, **_UNATTENDED}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True,
        )  # fmt: skip
    except FileNotFoundError:
        raise GcloudError("There is no gcloud command here: https://cloud.google.com/sdk/docs/install") from None


def _failure(arguments: tuple[str, ...], done: subprocess.CompletedProcess[str]) -> GcloudError:
    return GcloudError(f"gcloud {' '.join(arguments)}\n{done.stderr.strip()}")
