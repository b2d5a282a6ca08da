"""How the service is reached: HTTP, and its refusals in the form in which Google sends them."""

import itertools
import json
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf import json_format

from ..google_identity import JsonHandler

if TYPE_CHECKING:
    from . import Vertex

Json = dict[str, Any]
# The service numbers what it makes.
NUMBER = itertools.count(4_000_000_000)


class Refusal(Exception):
    """An HTTP status and Google's words for it."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.reason = status, message, reason


def parse(body: Json, message: Any) -> None:
    """Read JSON as the service does: a field that is not in the message is an error."""
    try:
        json_format.ParseDict(body, message)
    except json_format.ParseError as error:
        raise Refusal(400, f"Invalid JSON payload received. {error}") from None


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def handler(vertex: "Vertex") -> type[JsonHandler]:
    """Make the handler that passes each request on to this service."""
    lock = threading.Lock()

    class Handler(JsonHandler):
        def handle_any(self) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                vertex.requests.append(f"{self.command} {url.path}")
                failure = vertex.failures.pop(0) if vertex.failures else None
            if failure == -2:
                time.sleep(vertex.silence)
            if failure in (0, -2):
                self.close_connection = True
                return
            if failure in (502, 504):  # these come from what stands before the service, and it speaks HTML
                self.answer(failure, f"<html><title>Error {failure} (Server Error)!!1</title></html>", "text/html")
                return
            try:
                if failure is not None and failure > 0:
                    raise Refusal(failure, "the stand-in was told to fail")
                if self.headers["Authorization"] != f"Bearer {vertex.token}":
                    raise Refusal(401, "Request had invalid authentication credentials.")
                vertex.count(self.headers["x-goog-user-project"])
                query = {key: ",".join(values) for key, values in parse_qs(url.query).items()}
                reply = vertex.answer(self.command, url.path, query, json.loads(body or "{}"))
                status = 200
            except Refusal as refusal:
                status = refusal.status
                detail = {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": refusal.reason,
                    "domain": "googleapis.com",
                }
                reply = {
                    "error": {"code": status, "message": refusal.message, "details": [detail] if refusal.reason else []}
                }
            if failure == -1:
                self.close_connection = True
                return
            self.answer(status, reply)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    return Handler
