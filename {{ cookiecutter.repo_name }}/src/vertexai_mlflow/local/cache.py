"""Keeps results of cached tasks on this machine's disk, under a key like Vertex AI's cache key.

That key covers a task's inputs, the definitions of its outputs, and its container spec, with the placeholders
unreplaced. On Vertex AI, the image covers everything that a step finds on its disk. Here, unless the step runs in its
image, the key covers the code, the configuration, the files that the step reads, and the environment variables that the
configuration reads.
https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..compile.spec import Task
from ..contract.arguments import StepArguments
from ..contract.places import files_at, sha256_of
from .jobs import write_json

_CODE = ("src", "conf", "pyproject.toml", "requirements.lock")


class Cache:
    """The outputs of cached tasks.

    Args:
        folder: the folder of the cache.
        project: the Kedro project whose code the tasks run.
        variables: names of the environment variables that its configuration reads.
        images: name of an image → its current id, if the tasks run in containers.
    """

    def __init__(self, folder: Path, project: Path, variables: Iterable[str], images: Mapping[str, str]) -> None:
        self._folder = folder
        self._project = project
        self._images = images
        environment = {name: os.environ.get(name) for name in sorted(variables)}
        code = [path for name in _CODE for path in files_at(project / name) if "__pycache__" not in path.parts]
        hashes = [(str(path.relative_to(project)), sha256_of(path)) for path in code]
        self._code = hashlib.sha256(f"{hashes}{environment}".encode()).hexdigest()

    def key(self, task: Task, parameters: Mapping[str, Any], artifacts: Mapping[str, Any]) -> str:
        """The key of a task with these inputs.

        Args:
            task: the task.
            parameters: its input parameters' values.
            artifacts: its input artifacts, each a RuntimeArtifact.
        """
        parts = {
            "parameters": dict(parameters),
            "artifacts": {key: [artifact["uri"], _content(artifact["uri"])] for key, artifact in artifacts.items()},
            "outputs": task.component.get("outputDefinitions", {}),
            "container": task.container,
            "disk": self._images[task.container["image"]] if self._images else [self._code, self._reads(task)],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def find(self, key: str) -> tuple[Mapping[str, Any], str] | None:
        """The outputs under a key and the job that made them; None if there are none, or an artifact has changed."""
        try:
            entry = json.loads(self._file(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if any(_content(uri) != content for uri, content in entry["contents"].items()):
            return None
        return entry["outputs"], entry["job"]

    def keep(self, key: str, outputs: Mapping[str, Any], job: str) -> None:
        """Write a task's outputs to the cache, completely or not at all."""
        contents = {uri: _content(uri) for artifact in outputs["artifacts"].values() if (uri := artifact["uri"])}
        entry = {"outputs": dict(outputs), "contents": contents, "job": f"{job} of {datetime.now():%Y-%m-%d %H:%M}"}
        write_json(entry, self._file(key))

    def _reads(self, task: Task) -> list[str]:
        """The digests of the files that a task reads from its disk."""
        places = StepArguments.of(task.container.get("args", [])).reads
        return [sha256_of(self._project / Path(place).expanduser()) for place in places]

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _content(uri: str) -> str:
    """What is at an artifact's URI: a digest if it is a dataset's path, whose content may change."""
    path = Path(unquote(uri.removeprefix("file://")))
    if not uri.startswith("file://"):
        return "there" if path.exists() else ""
    return sha256_of(path)
