"""Google's token endpoints on loopback: metadata server, token endpoint, and the IAM Credentials API behind a proxy."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import certifi
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

AMBIENT = "runner@project.iam.gserviceaccount.com"
ISSUER = "https://accounts.google.com"


# Who asks, method, path, query and body → the answer's body.
Api = Callable[[str, str, str, dict[str, list[str]], Any], Any]


class Refused(Exception):
    """HTTP status and message of a refusal."""


@dataclass
class Google:
    """What Google would say, and how often it was asked; a test changes the former and reads the latter.

    Args:
        lifetime: seconds that an ID token lives.
        skew: seconds by which Google's clock is ahead of this machine's.
        metadata_gives: whether the metadata server gives ID tokens; it always gives access tokens.
        granted: whether the ambient identity may get ID tokens of service accounts.
        impersonates: whether it may also get their access tokens, which takes a role that may do more.
        failures: HTTP statuses to answer the next token requests with, first ones first.
        down: whether connections are dropped.
        delay: seconds to wait before an answer.
        audience: put into tokens instead of the one asked for.
        requests: number of ID tokens asked for.
        tokens: access token → whose it is.
        apis: host → what answers there, for who has one of these tokens.
        servers: host → what answers there itself, and looks at tokens and headers itself.
        open_hosts: hosts that answer without a token.
        federated: identity from elsewhere → service accounts that it may impersonate.
    """

    lifetime: float = 3600
    skew: float = 0
    metadata_gives: bool = True
    granted: bool = True
    impersonates: bool = True
    failures: list[int] = field(default_factory=list)
    down: bool = False
    delay: float = 0
    audience: str | None = None
    requests: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=lambda: {"ambient-access-token": AMBIENT})
    apis: dict[str, Api] = field(default_factory=dict)
    servers: dict[str, Callable[["JsonHandler"], None]] = field(default_factory=dict)
    open_hosts: set[str] = field(default_factory=set)
    federated: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.private_key = private.decode()
        self.signer = crypt.RSASigner.from_string(private)
        self.public_key = public.decode()
        self._lock = threading.Lock()

    @contextmanager
    def in_best_mood(self) -> Iterator[None]:
        """Count from nought, and take back at the end whatever a test has changed."""
        self.requests = 0
        try:
            yield
        finally:
            for item in fields(self):
                if item.default is not MISSING:
                    setattr(self, item.name, item.default)
            self.failures = []

    def now(self) -> float:
        """The time by Google's clock."""
        return time.time() + self.skew

    def id_token(self, audience: str, email: str) -> str:
        """Sign a token as Google does."""
        claims = {"iss": ISSUER, "aud": self.audience or audience, "email": email, "email_verified": True, "sub": email}
        # Whole seconds, as a JWT of Google has them.
        issued = int(self.now())
        token: bytes = jwt.encode(self.signer, {**claims, "iat": issued, "exp": issued + int(self.lifetime)})
        return token.decode()

    def count(self) -> int | None:
        """Note a token request; the status to refuse it with, if it is to be refused."""
        with self._lock:
            self.requests += 1
            failure = self.failures.pop(0) if self.failures else None
        time.sleep(self.delay)
        return failure


class JsonHandler(BaseHTTPRequestHandler):
    """What all stand-ins' handlers share: silence, and an answer of a known length."""

    protocol_version = "HTTP/1.1"
    headers_of_all: ClassVar[dict[str, str]] = {}

    def log_message(self, *_: Any) -> None:
        """Nothing: a test's output is its own."""

    def answer(
        self, status: int, body: Any, content_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**self.headers_of_all, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Handler(JsonHandler):
    headers_of_all: ClassVar[dict[str, str]] = {"Metadata-Flavor": "Google"}
    google: Google

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.google.now() if timestamp is None else timestamp)

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"code": status, "message": message, "status": "REFUSED"}})


class _Metadata(_Handler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self.google.down:
            self.connection.close()
        elif url.path.endswith("/identity"):
            failure = self.google.count()
            if failure:
                self.refuse(failure, "the metadata server refuses")
            elif not self.google.metadata_gives:
                self.answer(404, "Not Found", "text/html")
            else:
                (audience,) = parse_qs(url.query)["audience"]
                self.answer(200, self.google.id_token(audience, AMBIENT), "application/text")
        elif url.path.endswith("/token"):
            self.answer(200, {"access_token": "ambient-access-token", "expires_in": 3600, "token_type": "Bearer"})
        elif url.path.endswith(("/service-accounts/default/", f"/service-accounts/{AMBIENT}/")):
            self.answer(200, {"email": AMBIENT, "scopes": [], "aliases": ["default"]})
        elif url.path.endswith("/project-id"):
            self.answer(200, "project", "application/text")
        else:
            self.answer(404 if "universe" in url.path else 200, "", "text/html")

    def do_POST(self) -> None:
        """The token endpoint, where a service account's key is exchanged for an ID token (RFC 7523)."""
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        failure = self.google.count()
        if failure:
            self.answer(failure, {"error": "invalid_grant", "error_description": "the token endpoint refuses"})
            return
        asked = jwt.decode(form["assertion"][0], certs=self.google.public_key, verify=False)
        self.answer(200, {"id_token": self.google.id_token(asked["target_audience"], asked["iss"])})


class _Apis(_Handler):
    """A proxy that answers CONNECT itself, with a certificate of the test authority, and then is Google's other APIs."""

    context: ssl.SSLContext

    def do_CONNECT(self) -> None:
        self.host = self.path.partition(":")[0]
        if self.google.down or self.host not in {*self.google.apis, *self.google.servers}:
            self.connection.close()
            self.close_connection = True
            return
        self.send_response(200, "Connection established")
        self.end_headers()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)
        self.close_connection = False

    def handle_any(self) -> None:
        if serve := self.google.servers.get(self.host):
            serve(self)
            return
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        bearer = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        who = "" if self.host in self.google.open_hosts else self.google.tokens.get(bearer)
        if who is None:
            self.refuse(401, "no valid access token")
            return
        url = urlsplit(self.path)
        is_form = self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        body = parse_qs(text) if is_form else json.loads(text or "{}")
        try:
            reply = self.google.apis[self.host](who, self.command, url.path, parse_qs(url.query), body)
        except Refused as refused:
            self.refuse(*refused.args)
        else:
            self.answer(200, reply)

    do_GET = do_POST = do_HEAD = handle_any


def _iam_credentials(google: Google, who: str, path: str, asked: Any) -> Any:
    account, _, verb = path.rpartition("/")[2].partition(":")
    if verb == "generateAccessToken":
        if not (google.granted and google.impersonates) or account not in google.federated.get(who, {account}):
            raise Refused(
                403, "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
            )
        google.tokens[f"access-token-of-{account}"] = account
        return {"accessToken": f"access-token-of-{account}", "expireTime": "2100-01-01T00:00:00Z"}
    if verb not in ("generateIdToken", "signJwt"):
        raise Refused(404, f"no such method: {path}")
    failure = google.count()
    if failure:
        raise Refused(failure, "the IAM Credentials API refuses")
    if verb == "signJwt":
        return {"keyId": "1", "signedJwt": _signed(google, json.loads(asked["payload"]))}
    if not google.granted:
        raise Refused(403, "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist).")
    if not asked["includeEmail"]:
        raise Refused(400, "a token without an e-mail is of no use to IAP")
    return {"token": google.id_token(asked["audience"], account)}


def _signed(google: Google, claims: dict[str, Any]) -> str:
    """Sign any claims. https://docs.cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signJwt"""
    if not google.granted:
        raise Refused(403, "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist).")
    claims = {"exp": int(google.now()) + 3600, **claims}
    if type(claims["exp"]) is not int or not google.now() <= claims["exp"] <= google.now() + 12 * 3600:
        raise Refused(
            400, "The expiration time must be an integer timestamp, not in the past and at most 12 hours ahead."
        )
    token: bytes = jwt.encode(google.signer, claims)
    return token.decode()


@contextmanager
def google_identity(folder: Path) -> Iterator[Google]:
    """Run both stand-ins; ``google.environment`` makes Google's libraries talk to them."""
    google = Google()
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(
        "*.googleapis.com", "*.pkg.dev", "gcr.io", "api.github.com", "gitlab.com", "api.osv.dev"
    ).configure_cert(context)
    google.apis["iamcredentials.googleapis.com"] = lambda who, method, path, query, body: _iam_credentials(
        google, who, path, body
    )
    bundle = folder / "ca.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    with (
        served(type("Metadata", (_Metadata,), {"google": google})) as metadata,
        served(type("Apis", (_Apis,), {"google": google, "context": context})) as apis,
    ):
        google.environment = {
            "GCE_METADATA_HOST": metadata,
            "GCE_METADATA_IP": metadata,
            "HTTPS_PROXY": f"http://{apis}",
            "NO_PROXY": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": str(bundle),
        }
        yield google


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve a handler on a free port of loopback; its ``host:port``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
