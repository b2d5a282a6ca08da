"""Kedro's commands in forks of an interpreter that has imported what they need, as run-local starts its steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from running import launcher_environment

from vertexai_mlflow.local.preloaded import Preloaded


class WarmKedro:
    """Runs commands in a project.

    Args:
        project: the project; files are written beside it.
        preloaded: the interpreter.
    """

    def __init__(self, project: Path, preloaded: Preloaded) -> None:
        self.project, self.preloaded = project, preloaded

    def __call__(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run ``kedro`` with these arguments and environment variables; returns its exit code and what it printed."""
        argv = ["python", "-m", "kedro", *arguments]
        with (self.project.parent / "printed").open("w+b") as log:
            code = self.preloaded.start(argv, self.project, launcher_environment(**variables), log.fileno()).wait()
            log.seek(0)
            return code, log.read().decode()


@contextmanager
def warm_kedro(project: Path, **variables: str) -> Iterator[WarmKedro]:
    """Start the interpreter. What an import looks at must be in ``variables``, because they count at its start only."""
    memory = project.parent / "preloaded.json"
    learning = Preloaded(project, memory, launcher_environment(**variables))
    for command in (("run", "--help"), ("vertexai", "compile", "--help")):
        WarmKedro(project, learning)(*command, **variables)
    learning.close()
    preloaded = Preloaded(project, memory, launcher_environment(**variables))
    assert preloaded.why_not == ""
    try:
        yield WarmKedro(project, preloaded)
    finally:
        preloaded.close()
