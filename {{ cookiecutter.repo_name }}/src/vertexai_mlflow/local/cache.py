"""Keeps results of cached tasks on this machine's disk, under a key like Vertex AI's cache key.

That key covers a task's inputs, the definitions of its outputs, and its container spec, with the placeholders
unreplaced. On Vertex AI, the image covers everything that a step finds on its disk. Here, unless the step runs in its
image, the key covers the code of the project and of packages beside it, the configuration, the files that the step
reads, and the environment variables that the configuration reads.
https://cloud.google.com/vertex-ai/docs/pipelines/configure-caching
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from ..compile.source_digest import is_installed
from ..contract.arguments import StepArguments
from ..contract.names import INDEX_FILE, MEMBERS
from ..contract.places import files_at, files_below, sha256_of
from ..contract.spec import Task
from .jobs import write_json

_CODE = ("src", "pyproject.toml", "requirements.lock")
# Folders beside the project that no module is imported from.
_NO_CODE = ("__pycache__", "node_modules")


class Cache:
    """The outputs of cached tasks.

    Args:
        folder: the folder of the cache.
        project: the Kedro project whose code the tasks run.
        conf: the folder with its configuration.
        variables: names of the environment variables that its configuration reads.
        images: name of an image → its current id, if the tasks run in containers.
    """

    def __init__(
        self, folder: Path, project: Path, conf: Path, variables: Iterable[str], images: Mapping[str, str]
    ) -> None:
        self._folder = folder
        self._project = project
        self._images = images
        environment = {name: os.environ.get(name) for name in sorted(variables)}
        places = [*(project / name for name in _CODE), conf]
        code = [path for place in places for path in files_at(place) if "__pycache__" not in path.parts]
        hashes = [(str(path), sha256_of(path)) for path in code]
        self._code = hashlib.sha256(f"{hashes}{environment}{_code_beside(project)}".encode()).hexdigest()

    def key(self, task: Task, parameters: Mapping[str, Any], artifacts: Mapping[str, Any]) -> str:
        """The key of a task with these inputs.

        Args:
            task: the task.
            parameters: its input parameters' values.
            artifacts: its input artifacts, each a RuntimeArtifact.
        """
        parts = {
            "parameters": dict(parameters),
            "artifacts": {key: _contents(artifact) for key, artifact in artifacts.items()},
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
        artifacts = [artifact for artifact in outputs["artifacts"].values() if artifact["uri"]]
        contents = {uri: content for artifact in artifacts for uri, content in _contents(artifact).items()}
        entry = {"outputs": dict(outputs), "contents": contents, "job": f"{job} of {datetime.now():%Y-%m-%d %H:%M}"}
        write_json(entry, self._file(key))

    def _reads(self, task: Task) -> list[str]:
        """The digests of the files that a task reads from its disk."""
        places = StepArguments.of(task.container.get("args", [])).reads
        return [sha256_of(self._project / Path(place).expanduser()) for place in places]

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


def _code_beside(project: Path) -> list[tuple[str, int, int]]:
    """What tells a change of packages that are imported from other folders: of a monorepo, by PYTHONPATH, editable.

    Returns:
        Path, size and time of change of every file there. They are not read, because they may be many.
    """
    folders = {Path(entry).resolve() for entry in sys.path if entry} | set(_editable_installs())
    project = project.resolve()

    def may_have_code(folder: Path) -> bool:
        return folder.name not in _NO_CODE and folder.name[0] != "." and folder.resolve() != project

    files = []
    for folder in sorted(folders):
        if not folder.is_relative_to(project) and not is_installed(str(folder / "any.py")):
            stats = [(str(path), path.stat()) for path in files_below(folder, may_have_code)]
            files += [(path, stat.st_size, stat.st_mtime_ns) for path, stat in stats]
    return sorted(files)


def _editable_installs() -> Iterator[Path]:
    """The folders of packages that were installed by ``pip install -e``."""
    for distribution in distributions():
        # https://packaging.python.org/en/latest/specifications/direct-url/
        text = distribution.read_text("direct_url.json")
        origin = json.loads(text) if text else {}
        if origin.get("dir_info", {}).get("editable") and origin["url"].startswith("file:"):
            yield Path(url2pathname(urlsplit(origin["url"]).path)).resolve()


def _contents(artifact: Mapping[str, Any]) -> dict[str, str]:
    """What is at an artifact's URI, and at those of the artifacts that it stands for."""
    contents = {artifact["uri"]: _content(artifact["uri"])}
    if MEMBERS in artifact.get("metadata", {}):
        # The scheduler takes no notice of what a step finds there, so a missing file is one that has changed.
        with suppress(OSError, ValueError):
            members = json.loads((_path(artifact["uri"]) / INDEX_FILE).read_text(encoding="utf-8"))
            contents |= {member["uri"]: _content(member["uri"]) for member in members.values() if member["uri"]}
    return contents


def _path(uri: str) -> Path:
    return Path(unquote(uri.removeprefix("file://")))


def _content(uri: str) -> str:
    """What is at an artifact's URI: a digest if it is a dataset's path, whose content may change."""
    path = _path(uri)
    if not uri.startswith("file://"):
        return "there" if path.exists() else ""
    return sha256_of(path)
