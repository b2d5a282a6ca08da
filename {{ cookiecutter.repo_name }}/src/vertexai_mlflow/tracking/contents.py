"""What a job's MLflow run has in it, for the page of the job: params, metrics, images."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import FileInfo, Run

from ..contract import names
from ..contract.job import RunContents
from . import run_url
from .files import is_hidden

_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".svg")
# Bytes of an image, how many images, and how many folders of artifacts are looked at: a page holds no more, and each
# folder is a request.
_MAX_IMAGE, _MAX_IMAGES, _MAX_FOLDERS = 225_000, 30, 30


def contents_of(run: Run) -> RunContents:
    """Read what a run has. MLflow has been configured, see ``connected``."""
    images = {}
    with TemporaryDirectory() as folder, suppress(Exception):  # a page without plots is better than none
        for file in _images(run.info.run_id):
            images[file.path] = b""
            if file.file_size is None or file.file_size <= _MAX_IMAGE:
                with suppress(Exception):
                    path = MlflowClient().download_artifacts(run.info.run_id, file.path, folder)
                    images[file.path] = Path(path).read_bytes()
    hidden = json.loads(run.data.tags.get(names.HIDDEN_TAG, "[]"))
    params = {name: "***" if is_hidden(name, hidden) else value for name, value in run.data.params.items()}
    return RunContents(params, run.data.metrics, images, {"MLflow run": run_url(run)})


def _images(run_id: str) -> Iterator[FileInfo]:
    folders, count = [""], 0
    for _ in range(_MAX_FOLDERS):
        if not folders:
            return
        for entry in MlflowClient().list_artifacts(run_id, folders.pop(0) or None):
            if entry.is_dir:
                folders.append(entry.path)
            elif entry.path.lower().endswith(_IMAGES) and count < _MAX_IMAGES:
                count += 1
                yield entry
