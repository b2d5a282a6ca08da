"""Workload identity federation: hosts that sign their jobs' tokens, and the endpoint that exchanges these (RFC 8693)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import celpy
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from .google_identity import Google, JsonHandler, Refused, served


class GitHost:
    """Signs a token for each CI job, as GitHub and GitLab do.

    Args:
        issuer: the host's URL.
        claims: what it says of the jobs.
    """

    def __init__(self, issuer: str, claims: dict[str, str]) -> None:
        self.issuer, self.claims = issuer, claims
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = serialization.Encoding.PEM
        self._signer = crypt.RSASigner.from_string(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        self.public_key = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

    def token(self, audience: str) -> str:
        """A job's token, as GitLab puts it into a variable."""
        now = int(time.time())
        token: bytes = jwt.encode(
            self._signer, {"iss": self.issuer, "aud": audience, "iat": now, "exp": now + 3600, **self.claims}
        )
        return token.decode()


@contextmanager
def token_endpoint(host: GitHost) -> Iterator[dict[str, str]]:
    """Where a GitHub job that may asks for its token; the environment variables by which it does."""

    class Handler(JsonHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == "Bearer job-request-token"
            (audience,) = parse_qs(urlsplit(self.path).query)["audience"]
            if allowed:
                self.answer(200, {"value": host.token(audience)})
            else:
                self.answer(401, {"message": "no"})

    with served(Handler) as address:
        yield {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"http://{address}/?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job-request-token",
        }


@dataclass
class Federation:
    """Exchanges tokens of hosts for Google's.

    Args:
        google: whose endpoint this is.
        hosts: those there are.
        providers: resource name → workload identity provider, as the IAM API has it.
        users: service account → members that have ``roles/iam.workloadIdentityUser`` on it.
    """

    google: Google
    hosts: list[GitHost]
    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    users: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.google.apis["sts.googleapis.com"] = self._exchange
        self.google.open_hosts.add("sts.googleapis.com")

    def _exchange(self, _who: str, method: str, path: str, _query: Any, form: Any) -> Any:
        if (method, path) != ("POST", "/v1/token"):
            raise Refused(404, f"no such method: {path}")
        if form["grant_type"] != ["urn:ietf:params:oauth:grant-type:token-exchange"]:
            raise Refused(400, f"unsupported grant type: {form['grant_type']}")
        (audience,), (token,) = form["audience"], form["subject_token"]
        name = audience.removeprefix("//iam.googleapis.com/")
        if name not in self.providers:
            raise Refused(400, f"Invalid value for audience: {audience}")
        provider = self.providers[name]
        (host,) = (host for host in self.hosts if host.issuer == provider["oidc"]["issuerUri"])
        allowed = provider["oidc"].get("allowedAudiences") or [f"https://iam.googleapis.com/{name}"]
        try:
            claims = jwt.decode(token, certs=host.public_key, audience=allowed)
        except Exception as error:
            raise Refused(400, f"The given credential is rejected: {error}") from None
        if not evaluate(provider["attributeCondition"], claims):
            raise Refused(403, "The given credential is rejected by the attribute condition.")
        attributes = {to: evaluate(source, claims) for to, source in provider["attributeMapping"].items()}
        pool = name.partition("/providers/")[0]
        me = f"principal://iam.googleapis.com/{pool}/subject/{attributes['google.subject']}"
        mine = {me} | {f"principalSet://iam.googleapis.com/{pool}/{to}/{value}" for to, value in attributes.items()}
        self.google.federated[me] = {account for account, members in self.users.items() if members & mine}
        federated = f"federated-token-{len(self.google.tokens)}"
        self.google.tokens[federated] = me
        return {
            "access_token": federated, "token_type": "Bearer", "expires_in": 3600,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }  # fmt: skip


def evaluate(expression: str, claims: dict[str, Any]) -> Any:
    """What an expression of the Common Expression Language says of a token's claims."""
    environment = celpy.Environment()
    return environment.program(environment.compile(expression)).evaluate({"assertion": celpy.json_to_cel(claims)})
