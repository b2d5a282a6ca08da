"""Render the template with answers: a generated project comes out, in a folder of its own."""

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
        project = cookiecutter(
            str(template), no_input=True, extra_context=answers, output_dir=str(folder), default_config=True
        )
    except FailedHookException:
        raise UserError("The template does not accept these answers; see above.") from None
    except CookiecutterException as error:
        raise UserError(f"The template cannot be rendered: {error}") from None
    return Path(project)
