"""Tell people how a job has ended, by a webhook. Whatever goes wrong here, the job is none the worse for it."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from threading import Thread
from typing import Any

import requests

from .auth.secrets import secret
from .contract.job import Outcome, State
from .contract.secret_references import parse_reference
from .errors import AuthorizationError, shown

# Seconds for the whole of it, also if the receiver sends its answer byte by byte.
TIMEOUT = 15.0
# What a chat shows of an error.
_MAX_ERROR = 1000
_ADDRESS = re.compile(r"https://[^\s/]+/\S*|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?/\S*")


def notify(ask: Callable[[], Outcome], config: Mapping[str, Any], project: str = "") -> str:
    """Send a message about a job that has ended, if somebody wants to hear of that.

    Args:
        ask: tells how it ended, and may fail.
        config: ``run_config.notify``, whose ``webhook`` says which secret has the address.
        project: where that secret is; by default, the project of the job.

    Returns:
        What happened, for the log, without the address; empty if nobody wants to hear of it.
    """
    try:
        outcome = ask()
        if not occasions_of(outcome) & set(config["on"]):
            return ""
        if (reference := parse_reference(config["webhook"])) is None:
            return "Nobody was told: run_config.notify.webhook names no secret."
        name, version = reference
        address = secret(name, version, project).strip()
        if not _ADDRESS.fullmatch(address):
            return f"Nobody was told: the secret {name} is not the https address of a webhook."
    except (Exception, AuthorizationError) as error:
        return f"Nobody was told. {shown(str(error))}"
    return _post(address, body_of(outcome, config["form"]))


def occasions_of(outcome: Outcome) -> set[str]:
    """The words of ``run_config.notify.on`` that fit."""
    if outcome.state != State.SUCCEEDED:
        return {"failure"}
    return {"success", "recovery"} if outcome.is_recovery else {"success"}


def body_of(outcome: Outcome, form: str) -> dict[str, Any]:
    """The message as a chat takes it, or, in the form ``json``, as the fields of ``Outcome``."""
    if form == "json":
        return {**asdict(outcome), "error": outcome.error[:_MAX_ERROR]}
    kind = "recovered" if outcome.is_recovery else outcome.state
    where = f" in {outcome.env}" if outcome.env else ""
    lines = [f"*{_plain(outcome.pipeline)}*{_plain(where)}: {_plain(kind)}"]
    if outcome.failed_node:
        lines.append(f"Failed node: {_plain(outcome.failed_node)}")
    if outcome.error:
        lines.append(f"Error: {_plain(outcome.error[:_MAX_ERROR])}")
    if outcome.registered:
        lines.append(f"Registered model: {_plain(outcome.registered)}")
    pages = {"Job": outcome.job_url, "MLflow run": outcome.run_url}
    lines += [f"{name}: {_link(address)}" for name, address in pages.items() if address]
    if outcome.resume:
        lines.append(f"To go on from there: {_plain(outcome.resume)}")
    return {"text": "\n".join(lines)}


def _plain(text: str) -> str:
    """A text that a chat shows as it is: nobody is called by it, and nothing in it becomes a link.

    Slack and Google Chat read <…>, and & for what stands for these. https://api.slack.com/reference/surfaces/formatting
    """
    return shown(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(address: str) -> str:
    return f"<{address}>" if re.fullmatch(r"https?://[^\s<>|]+", address) else _plain(address)


def _post(address: str, body: Mapping[str, Any]) -> str:
    host = address.split("/")[2].rpartition("@")[2]
    results: list[str] = []

    def send() -> None:
        try:
            with _quiet():
                # A redirect would take the address, or the message, elsewhere. The answer's body is not read.
                answer = requests.post(address, json=body, timeout=TIMEOUT, allow_redirects=False, stream=True)
                answer.close()
            results.append("told" if 200 <= answer.status_code < 300 else f"answers {answer.status_code}")
        except Exception as error:  # its text may have the address
            results.append(f"cannot be reached ({type(error).__name__})")

    thread = Thread(target=send, daemon=True)
    thread.start()
    thread.join(TIMEOUT)
    result = results[0] if results else f"does not answer within {TIMEOUT:.0f} s"
    return (
        f"The webhook at {host} was told." if result == "told" else f"Nobody was told: the webhook at {host} {result}."
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the address out of the log: at level DEBUG, urllib3 writes the path of each request."""
    logger = logging.getLogger("urllib3.connectionpool")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
