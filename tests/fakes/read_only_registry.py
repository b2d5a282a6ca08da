"""Artifact Registry to somebody who may read and not write: the registry's own protocol, refusing each upload."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from .google_identity import served

# https://distribution.github.io/distribution/spec/api/#errors
_DENIED = {
    "errors": [
        {"code": "DENIED", "message": 'Permission "artifactregistry.repositories.uploadArtifacts" denied on resource'}
    ]
}


@contextmanager
def read_only_registry() -> Iterator[str]:
    """Serve it on loopback; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing: a test's output is its own."""

        def answer(self, status: int, body: Any = None) -> None:
            data = json.dumps(body).encode() if body is not None else b""
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer(200 if self.path == "/v2/" else 404, {})

        def do_HEAD(self) -> None:
            self.answer(404)

        def do_POST(self) -> None:
            self.answer(403, _DENIED)

    with served(Handler) as address:
        yield address
