"""``--upload-code``: the code of this working tree, as an image of it would have it."""

from ..cloud.upload import upload_code
from ..contract.uploaded import LEFT_OUT, Code, pack
from ..errors import UserError
from ..git import head, is_dirty
from ..image.context import credentials_in_image, doubtful_patterns, files_in_image
from ..project import Project
from . import say


def packed(project: Project, root: str) -> Code:
    """Pack it, to be kept below a pipeline root.

    Raises:
        UserError: when .dockerignore is missing, or docker would read it in another way; and see ``pack``.
    """
    project.refuse_configuration_elsewhere()
    path, conf = project.path, project.conf.relative_to(project.path).as_posix()
    if not (path / ".dockerignore").is_file():
        raise UserError("--upload-code: there is no .dockerignore, which says what of this folder may be in an image.")
    if unclear := doubtful_patterns(path):
        raise UserError(f"--upload-code: .dockerignore: {', '.join(unclear)}: name these folders without wildcards.")
    everything = files_in_image(path, leave_out=[*LEFT_OUT, f"{conf}/local"])
    names = files_in_image(path, leave_out=[*LEFT_OUT, f"{conf}/local", f"{conf}/**/*credentials*"])
    names |= credentials_in_image(path, everything)
    return pack(path, names, root, head(path), is_dirty(path, names))


def send(code: Code) -> None:
    """Upload it, and say so."""
    sent = "sent" if upload_code(code) else "already uploaded"
    say(f"Code:      {code.uri}, {len(code.archive) / 1000:.0f} kB, {sent}")
