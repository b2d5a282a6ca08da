"""Secret Manager's REST API: access of versions, and what somebody may do with a secret."""

import base64
import re
from dataclasses import dataclass, field
from typing import Any

from .google_identity import Google, Refused

HOST = "secretmanager.googleapis.com"
ACCESS = "secretmanager.versions.access"


@dataclass
class SecretManager:
    """A small Secret Manager; a test changes what is in it.

    Args:
        secrets: ``projects/<project>/secrets/<name>`` → its versions, oldest first.
        readers: who may access which secret.
        failures: HTTP statuses to answer the next requests with.
        asked: the paths that were asked for.
    """

    secrets: dict[str, list[str]] = field(default_factory=dict)
    readers: set[tuple[str, str]] = field(default_factory=set)
    failures: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def serve(self, google: Google) -> None:
        """Answer at Google's host name, which ``google`` stands in for."""
        google.apis[HOST] = self._answer

    def _answer(self, who: str, method: str, path: str, _query: Any, body: Any) -> Any:
        self.asked.append(path)
        if self.failures:
            raise Refused(self.failures.pop(0), "The service is currently unavailable.")
        match = re.fullmatch(
            r"/v1/(projects/[^/]+/secrets/[^/:]+)(?:/versions/([^/:]+))?:(access|testIamPermissions)", path
        )
        if not match:
            raise Refused(404, f"no such method: {path}")
        name, version, verb = match.groups()
        may = (who, name) in self.readers
        if (method, verb) == ("POST", "testIamPermissions"):
            return {"permissions": [permission for permission in body["permissions"] if may and permission == ACCESS]}
        if not may:
            # https://docs.cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access
            raise Refused(
                403, f"Permission '{ACCESS}' denied for resource '{name}/versions/{version}' (or it may not exist)."
            )
        versions = self.secrets.get(name, [])
        number = len(versions) if version == "latest" else int(version) if version.isdecimal() else 0
        if not 1 <= number <= len(versions):
            raise Refused(404, f"Secret Version [{name}/versions/{version}] not found.")
        data = base64.b64encode(versions[number - 1].encode()).decode()
        return {"name": f"{name}/versions/{number}", "payload": {"data": data}}
