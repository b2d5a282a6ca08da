"""Render the template with answers: a generated project comes out, in a folder of its own."""

from collections.abc import Mapping
from pathlib import Path

from cookiecutter.exceptions import CookiecutterException, FailedHookException
from cookiecutter.main import cookiecutter

from .errors import UserError

# Cookiecutter renders the answers too, without a sandbox, and they come from files that nobody reads as code.
_JINJA = ("{{", "{%", "{#")


def render(template: Path, answers: Mapping[str, object], folder: Path) -> Path:
    """Generate a project.

    Args:
        template: the folder of the template.
        answers: some of the variables in ``cookiecutter.json``; the others have their defaults.
        folder: where the project's folder is made.

    Raises:
        UserError: when an answer has Jinja in it, or is not valid. In the second case, the template's hook has printed
            which one and why.
    """
    for name, answer in answers.items():
        if not isinstance(answer, str | bool | int | float | None) or any(mark in str(answer) for mark in _JINJA):
            raise UserError(
                f"The answer {name} is {answer!r:.200}. It must be plain text, without {', '.join(_JINJA)}."
            )
    try:
        project = cookiecutter(
            str(template), no_input=True, extra_context=dict(answers), output_dir=str(folder), default_config=True
        )
    except FailedHookException:
        raise UserError("The template does not accept these answers; see above.") from None
    except CookiecutterException as error:
        raise UserError(f"The template cannot be rendered: {error}") from None
    return Path(project)
