"""Adds ``origin.json`` to what is built: the template's address and commit, for the record in generated projects."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class OriginHook(BuildHookInterface):
    """A wheel has the file beside the template, and a source distribution at its top, for the wheels built from it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        inside = "origin.json" if self.target_name == "sdist" else "kedro_vertexai_mlflow/template/origin.json"
        given = Path(self.root) / "origin.json"
        if given.exists():
            build_data["force_include"][str(given)] = inside
        elif version != "editable" and (address := self.git("remote", "get-url", "origin")):
            origin = {
                # A token for cloning is nobody else's business.
                "template": re.sub(r"^(https?://)[^/]*@", r"\1", address),
                "commit": self.git("rev-parse", "HEAD"),
            }
            file = Path(tempfile.mkdtemp()) / "origin.json"
            file.write_text(json.dumps(origin))
            build_data["force_include"][str(file)] = inside

    def git(self, *arguments: str) -> str:
        """Return what git prints, or nothing if it refuses."""
        done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""
