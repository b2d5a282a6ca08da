"""Add ``origin.json`` to the distributions: the template's address and commit, for the record in generated projects."""

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class OriginHook(BuildHookInterface):
    """Puts the file beside the template in a wheel, and at the top of a source distribution for its wheels."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        target = "origin.json" if self.target_name == "sdist" else "kedro_vertexai_mlflow/template/origin.json"
        existing = Path(self.root) / "origin.json"
        if existing.exists():
            build_data["force_include"][str(existing)] = target
        elif version != "editable" and (address := self.git("remote", "get-url", "origin")):
            origin = {
                # A token for cloning must stay secret.
                "template": re.sub(r"^(https?://)[^/]*@", r"\1", address),
                "commit": self.git("rev-parse", "HEAD"),
            }
            file = Path(tempfile.mkdtemp()) / "origin.json"
            file.write_text(json.dumps(origin))
            build_data["force_include"][str(file)] = target

    def git(self, *arguments: str) -> str:
        """Return what git prints; empty if it fails."""
        process = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True)
        return process.stdout.strip() if process.returncode == 0 else ""
