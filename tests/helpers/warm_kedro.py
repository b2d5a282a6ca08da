"""A project whose commands are forks, and an interpreter that forks its steps, as run-local starts them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from running import BIN, launcher_environment, run

from vertexai_mlflow.local.preloaded import Preloaded


class WarmKedro:
    """Runs commands in a project.

    Args:
        project: the project.
        preloaded: the interpreter for its steps.
        variables: environment variables of all commands.
    """

    def __init__(self, project: Path, preloaded: Preloaded, **variables: str) -> None:
        self.project, self.preloaded, self._variables = project, preloaded, variables

    def __call__(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run ``kedro`` with these arguments and environment variables; returns its exit code and what it printed."""
        done = run(BIN / "kedro", *arguments, cwd=self.project, **{**self._variables, **variables})
        return done.returncode, done.stdout + done.stderr


@contextmanager
def warm_kedro(project: Path, **variables: str) -> Iterator[WarmKedro]:
    """Start the interpreter. What an import looks at must be in ``variables``, because they count at its start only."""
    preloaded = Preloaded(project, project.parent / "preloaded.json", launcher_environment(**variables))
    assert preloaded.why_not == ""
    try:
        yield WarmKedro(project, preloaded, **variables)
    finally:
        preloaded.close()
