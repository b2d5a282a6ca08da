"""The template and answers → a generated project, in a folder of its own."""

from pathlib import Path

from cookiecutter.exceptions import CookiecutterException, FailedHookException
from cookiecutter.main import cookiecutter

from .errors import UserError


def render(template: Path, answers: dict[str, str], folder: Path) -> Path:
    """Generate a project.

    Args:
        template: the folder of the template.
        answers: some of the variables in ``cookiecutter.json``; the others have their defaults.
        folder: where the project's folder is made.

    Raises:
        UserError: when an answer is not valid. The template's hook has printed which one and why.
    """
    try:
        made = cookiecutter(
            str(template), no_input=True, extra_context=answers, output_dir=str(folder), default_config=True
        )
    except FailedHookException:
        raise UserError("The template does not take these answers; see above.") from None
    except CookiecutterException as error:
        raise UserError(f"The template cannot be rendered: {error}") from None
    return Path(made)


def files_of(project: Path, below: str = "") -> dict[str, bytes]:
    """Return the files of a project, or of one of its folders, by their paths in the project."""
    files = sorted(path for path in (project / below).rglob("*") if path.is_file())
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}
