"""The vulnerability database OSV, with the one advisory that is recorded beside this file."""

import json
from pathlib import Path
from typing import Any

from .google_identity import Google, Refused

ADVISORY = json.loads(Path(__file__).with_name("PYSEC-2019-217.json").read_text())


def serve(google: Google) -> list[str]:
    """Answer at OSV's host name, by https://google.github.io/osv.dev/post-v1-query.

    Returns:
        The packages that are asked for, as they are asked for.
    """
    asked: list[str] = []

    def answer(_who: str, method: str, path: str, _query: Any, body: Any) -> Any:
        if (method, path) != ("POST", "/v1/query") or body["package"]["ecosystem"] != "PyPI":
            raise Refused(400, "Invalid query.")
        asked.append(f"{body['package']['name']}=={body['version']}")
        (affected,) = ADVISORY["affected"]
        hit = body["package"]["name"] == affected["package"]["name"] and body["version"] in affected["versions"]
        return {"vulns": [ADVISORY]} if hit else {}

    google.apis["api.osv.dev"] = answer
    google.open_hosts.add("api.osv.dev")
    return asked
