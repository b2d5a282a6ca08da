"""Reads what a local job has logged to MLflow in a process of its own, so that the job need not wait for it."""

import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..contract.job import RunContents
from .preloaded import Preloaded
from .processes import Process, environment, start

_MODULE = "vertexai_mlflow.tracking.contents"
# Seconds that the end of a job waits for MLflow.
_PATIENCE = 30.0


@dataclass
class Reading:
    """The process that reads.

    Args:
        folder: the job's.
        cwd: the project.
        env: its configuration environment.
        preloaded: an interpreter that may fork the process.
    """

    folder: Path
    cwd: Path
    env: str | None
    preloaded: Preloaded | None = None
    _process: Process | None = field(default=None, init=False)

    @property
    def _file(self) -> Path:
        return self.folder / "run.json"

    def begin(self) -> None:
        """Start reading. Nothing that goes wrong here may be the job's failure."""
        argv = ["python", "-m", _MODULE, str(self._file), self.folder.name, self.folder.as_uri(), self.env or ""]
        preloaded = self.preloaded if self.preloaded and not self.preloaded.why_not else None
        with suppress(OSError), Path(os.devnull).open("wb") as log:
            self._process = start(argv, self.cwd, environment(), log.fileno(), preloaded)

    def result(self) -> RunContents | None:
        """What was read; None if nothing was."""
        if not self._process:
            return None
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, 9)
        with suppress(OSError, ValueError, KeyError, TypeError):
            contents = RunContents.from_json(self._file.read_text(encoding="utf-8"))
            self._file.unlink()
            return contents
        return None
