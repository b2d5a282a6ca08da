"""What ``doctor`` and ``logs`` ask of Google besides Vertex AI: IAM, Cloud Storage, Cloud Logging, and a registry."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .artifact_registry import Image, serve
from .google_identity import Google, Refused


@dataclass
class Cloud:
    """A small cloud; a test changes what is in it.

    Args:
        accounts: service accounts that there are.
        buckets: bucket → its region.
        images: ``repository:tag`` → the image of that name.
        denied: who lacks which permission.
        logs: custom job's number → the file with what it printed.
        page: log entries in an answer.
    """

    accounts: set[str] = field(default_factory=set)
    buckets: set[str] = field(default_factory=set)
    images: dict[str, Image] = field(default_factory=dict)
    denied: set[tuple[str, str]] = field(default_factory=set)
    logs: Mapping[str, Path] = field(default_factory=dict)
    page: int = 1000

    def serve(self, google: Google, registry: str) -> None:
        """Answer at Google's host names, which ``google`` stands in for."""
        self._google = google
        google.apis |= {
            "iam.googleapis.com": self._iam,
            "storage.googleapis.com": self._storage,
            "logging.googleapis.com": self._logging,
        }
        serve(google, registry, self)

    def _allowed(self, who: str, permissions: list[str]) -> Any:
        return {"permissions": [permission for permission in permissions if (who, permission) not in self.denied]}

    def _iam(self, who: str, method: str, path: str, _query: Any, body: Any) -> Any:
        match = re.fullmatch(r"/v1/projects/([^/]+)/serviceAccounts/([^:]+):testIamPermissions", path)
        if method != "POST" or not match:
            raise Refused(404, f"no such method: {path}")
        project, account = match.groups()
        if account not in self.accounts and project == "-":
            # https://docs.cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts
            raise Refused(403, "Permission denied on resource (or it may not exist).")
        if account not in self.accounts or project not in ("-", account.partition("@")[2].partition(".")[0]):
            raise Refused(404, f"Unknown service account {account}")
        allowed = {
            "iam.serviceAccounts.getOpenIdToken": self._google.granted,
            "iam.serviceAccounts.signJwt": self._google.granted,
            "iam.serviceAccounts.getAccessToken": self._google.granted and self._google.impersonates,
        }
        return self._allowed(who, [permission for permission in body["permissions"] if allowed.get(permission, True)])

    def _storage(self, who: str, method: str, path: str, query: Any, _body: Any) -> Any:
        match = re.fullmatch(r"/storage/v1/b/([^/]+)/iam/testPermissions", path)
        if method != "GET" or not match:
            raise Refused(404, f"no such method: {path}")
        if match[1] not in self.buckets:
            raise Refused(404, "The specified bucket does not exist.")
        return self._allowed(who, query["permissions"])

    def _logging(self, who: str, method: str, path: str, _query: Any, body: Any) -> Any:
        if (method, path) != ("POST", "/v2/entries:list"):
            raise Refused(404, f"no such method: {path}")
        if (who, "logging.logEntries.list") in self.denied:
            raise Refused(403, "Permission denied for all log views")
        if 'resource.type="ml_job"' not in body["filter"] or "timestamp>=" not in body["filter"]:
            raise Refused(400, f"not a filter that finds a job's lines: {body['filter']}")
        numbers = re.findall(r'"(\d+)"', body["filter"])
        entries = [
            {
                "timestamp": f"2026-11-24T00:00:{second:02}.5Z", "severity": "INFO", "textPayload": line,
                "resource": {"type": "ml_job", "labels": {"job_id": number}},
            }
            for second, number in enumerate(numbers)
            for line in self.logs[number].read_text().splitlines()
        ]  # fmt: skip
        start = int(body.get("pageToken", 0))
        more = {"nextPageToken": str(start + self.page)} if start + self.page < len(entries) else {}
        return {"entries": entries[start : start + self.page], **more}
