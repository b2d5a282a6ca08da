"""Results of cached tasks on this machine's disk, found again by what Vertex AI's cache key covers.

That is a task's inputs, the definitions of its outputs, and its container spec with the placeholders unreplaced. On
Vertex AI the image stands for the code; here it is the code itself.
https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..compile.spec import Task

_CODE = ("src", "conf", "pyproject.toml")
_LEFT_OUT = frozenset(["__pycache__", "local"])


class Cache:
    """What cached tasks gave.

    Args:
        folder: where it is kept.
        project: the Kedro project whose code the tasks run.
    """

    def __init__(self, folder: Path, project: Path) -> None:
        self._folder = folder
        self._code = _digest(project, _CODE, _LEFT_OUT)

    def key(self, task: Task, parameters: Mapping[str, Any], artifacts: Mapping[str, Any]) -> str:
        """The key of a task with these inputs.

        Args:
            task: the task.
            parameters: its input parameters' values.
            artifacts: its input artifacts, each a RuntimeArtifact.
        """
        covered = {
            "parameters": dict(parameters),
            "artifacts": {key: [artifact["uri"], _content(artifact["uri"])] for key, artifact in artifacts.items()},
            "outputs": task.component.get("outputDefinitions", {}),
            "container": task.container,
            "code": self._code,
        }
        return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()

    def find(self, key: str) -> Mapping[str, Any] | None:
        """The outputs kept under a key; None if there are none, or an artifact of them is gone."""
        try:
            kept = json.loads(self._file(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept["outputs"] if all(_content(uri) == content for uri, content in kept["contents"].items()) else None

    def keep(self, key: str, outputs: Mapping[str, Any]) -> None:
        """Keep a task's outputs; whole or not at all."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        contents = {uri: _content(uri) for artifact in outputs["artifacts"].values() if (uri := artifact["uri"])}
        partial.write_text(json.dumps({"outputs": dict(outputs), "contents": contents}), encoding="utf-8")
        partial.replace(file)

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _content(uri: str) -> str:
    """What is at an artifact's URI: a digest if it is a dataset's own path, which others may change."""
    path = Path(unquote(uri.removeprefix("file://")))
    if not uri.startswith("file://"):
        return "there" if path.exists() else ""
    return _digest(path.parent, [path.name]) if path.exists() else ""


def _digest(folder: Path, names: Iterable[str], left_out: frozenset[str] = frozenset()) -> str:
    digest = hashlib.sha256()
    for name in names:
        for path in sorted([folder / name, *(folder / name).rglob("*")]):
            if path.is_file() and left_out.isdisjoint(path.relative_to(folder).parts):
                digest.update(f"{path.relative_to(folder)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
