"""Artifact Registry to somebody who may read and not write: the registry's own protocol, refusing each upload."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from .google_identity import JsonHandler, served

# https://distribution.github.io/distribution/spec/api/#errors
_DENIED = {
    "errors": [
        {"code": "DENIED", "message": 'Permission "artifactregistry.repositories.uploadArtifacts" denied on resource'}
    ]
}


@contextmanager
def read_only_registry() -> Iterator[str]:
    """Serve it on loopback; its address."""

    class Handler(JsonHandler):
        headers_of_all: ClassVar[dict[str, str]] = {"Docker-Distribution-Api-Version": "registry/2.0"}

        def do_GET(self) -> None:
            self.answer(200 if self.path == "/v2/" else 404, {})

        def do_HEAD(self) -> None:
            self.answer(404, "")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.answer(403, _DENIED)

    with served(Handler) as address:
        yield address
