"""An authorizing reverse proxy like Identity-Aware Proxy: requests with a good token reach the upstream, no other."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from fakes.google_identity import ISSUER, Google, served

_HOP_BY_HOP = {"connection", "transfer-encoding", "host", "keep-alive"}


@dataclass
class Iap:
    """What the proxy was sent.

    Args:
        url: its address.
        passed: requests with a good token.
        refused: for each other request, why.
        headers: names and values of the last request's headers.
        host: the public host name, which the upstream is told; empty is the upstream's own.
        is_google_managed: whether the OAuth client is Google's, as by default on Cloud Run: ID tokens of programs are then
            refused, for whatever client id. JWTs that an account has signed for the URL pass in any case.
        largest_body: bytes that a request may have; Cloud Run takes 32 MiB by HTTP/1.
        answers: path → status and text, where the server behind it is to answer otherwise.
    """

    url: str = ""
    passed: int = 0
    refused: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    host: str = ""
    is_google_managed: bool = False
    largest_body: float = float("inf")
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)


@contextmanager
def identity_aware_proxy(
    upstream: str, google: Google, audience: str, members: set[str], header: str = "Authorization"
) -> Iterator[Iap]:
    """Run the proxy.

    Args:
        upstream: address of the server behind it.
        google: whose signature and clock count.
        audience: the OAuth client id that tokens must be for.
        members: e-mails that may pass.
        header: where the token is looked for.
    """
    iap = Iap()
    lock = threading.Lock()
    target = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing: a test's output is its own."""

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            chunked = "chunked" in (self.headers.get("Transfer-Encoding") or "")
            body = b"".join(self.chunks()) if chunked else self.rfile.read(length)
            if len(body) > iap.largest_body:  # Cloud Run's own front, which IAP is behind
                iap.refused.append("too large")
                self.reply(
                    413, {"Content-Type": "text/html"}, b"<html><title>413 Request Entity Too Large</title></html>"
                )
                return
            status, reason = self.judge()
            with lock:
                iap.headers = dict(self.headers.items())
                if reason:
                    iap.refused.append(reason)
                else:
                    iap.passed += 1
            if reason:
                self.reply(status, {"Content-Type": "text/plain"}, f"Invalid IAP credentials: {reason}".encode())
                return
            if answer := iap.answers.get(urlsplit(self.path).path):
                self.reply(answer[0], {"Content-Type": "text/html"}, answer[1].encode())
                return
            connection = http.client.HTTPConnection(target, timeout=120)
            forwarded = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            if iap.host:
                forwarded["Host"] = iap.host
            connection.request(self.command, self.path, body, forwarded)
            response = connection.getresponse()
            self.reply(response.status, dict(response.getheaders()), response.read())
            connection.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any

        def chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def judge(self) -> tuple[int, str]:
            given = self.headers.get_all(header) or []
            if not given:
                return 401, "no token"
            if len(given) > 1 or given[0].count("Bearer ") != 1 or not given[0].startswith("Bearer "):
                return 401, "not one bearer token"
            try:
                claims = jwt.decode(given[0].removeprefix("Bearer "), certs=google.public_key, verify=False)
                jwt.decode(given[0].removeprefix("Bearer "), certs=google.public_key, clock_skew_in_seconds=10**6)
            except (ValueError, GoogleAuthError) as error:
                return 401, f"signature: {type(error).__name__}"
            if claims["exp"] < google.now():
                return 401, "expired"
            if claims["iss"] == claims["sub"]:  # https://docs.cloud.google.com/iap/docs/authentication-howto
                url = f"http://{self.headers['Host']}{self.path}"
                beginning = claims["aud"].removesuffix("*")
                if url != claims["aud"] and not (claims["aud"].endswith("/*") and url.startswith(beginning)):
                    return 401, f"audience {claims['aud']}"
                if claims["exp"] - claims["iat"] > 3600 or claims["iat"] > google.now() + 60:
                    return 401, "lifetime"
                return (200, "") if claims["sub"] in members else (403, f"stranger {claims['sub']}")
            if iap.is_google_managed or claims["aud"] != audience:
                return 401, f"audience {claims['aud']}"
            if claims["iss"] != ISSUER:
                return 401, f"issuer {claims['iss']}"
            return (200, "") if claims["email"] in members else (403, f"stranger {claims['email']}")

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in {*_HOP_BY_HOP, "content-length", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    with served(Handler) as address:
        iap.url = f"http://{address}"
        yield iap
