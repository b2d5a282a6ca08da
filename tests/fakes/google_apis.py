"""What ``doctor`` and ``logs`` ask of Google besides Vertex AI: IAM, Cloud Storage, Cloud Logging, quotas, machine types
and a registry.
"""

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
        quotas: quota → its limit by region; the one without a region is everywhere else.
        machine_types: machine type → the zones that have it.
    """

    accounts: set[str] = field(default_factory=set)
    buckets: set[str] = field(default_factory=set)
    images: dict[str, Image] = field(default_factory=dict)
    denied: set[tuple[str, str]] = field(default_factory=set)
    logs: Mapping[str, Path] = field(default_factory=dict)
    page: int = 1000
    quotas: dict[str, dict[str, int]] = field(default_factory=lambda: {"custom_model_training_cpus": {"": 20}})
    machine_types: dict[str, list[str]] = field(default_factory=dict)

    def serve(self, google: Google, registry: str) -> None:
        """Answer at Google's host names, which ``google`` stands in for."""
        self._google = google
        google.apis |= {
            "iam.googleapis.com": self._iam,
            "storage.googleapis.com": self._storage,
            "logging.googleapis.com": self._logging,
            "serviceusage.googleapis.com": self._quotas,
            "compute.googleapis.com": self._machine_types,
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

    def _quotas(self, who: str, method: str, path: str, _query: Any, _body: Any) -> Any:
        """https://docs.cloud.google.com/service-usage/docs/reference/rest/v1beta1/services.consumerQuotaMetrics/get"""
        match = re.fullmatch(
            r"/v1beta1/projects/[^/]+/services/aiplatform\.googleapis\.com/consumerQuotaMetrics/aiplatform\.googleapis\.com%2F(\w+)",
            path,
        )
        if method != "GET" or not match:
            raise Refused(404, f"no such method: {path}")
        if (who, "serviceusage.quotas.get") in self.denied:
            raise Refused(403, "Permission denied to get service [aiplatform.googleapis.com]")
        if match[1] not in self.quotas:
            raise Refused(404, f"Quota metric not found: {match[1]}")
        buckets = [
            {"effectiveLimit": str(limit), **({"dimensions": {"region": region}} if region else {})}
            for region, limit in self.quotas[match[1]].items()
        ]
        return {"metric": match[1], "consumerQuotaLimits": [{"unit": "1/{project}/{region}", "quotaBuckets": buckets}]}

    def _machine_types(self, who: str, method: str, path: str, query: Any, _body: Any) -> Any:
        """https://docs.cloud.google.com/compute/docs/reference/rest/v1/machineTypes/aggregatedList"""
        if method != "GET" or not re.fullmatch(r"/compute/v1/projects/[^/]+/aggregated/machineTypes", path):
            raise Refused(404, f"no such method: {path}")
        if (who, "compute.machineTypes.list") in self.denied:
            raise Refused(403, "Required 'compute.machineTypes.list' permission")
        (name,) = re.findall(r'^name = "([a-z0-9-]+)"$', query["filter"][0])
        zones = self.machine_types.get(name, [])
        nothing = {"zones/us-east1-b": {"warning": {"code": "NO_RESULTS_ON_PAGE"}}}
        return {"items": {**nothing, **{f"zones/{zone}": {"machineTypes": [{"name": name}]} for zone in zones}}}

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
