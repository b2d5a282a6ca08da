"""``--code upload``: the code of this working tree, as an image of it would have it."""

from ..cloud.upload import upload_code
from ..contract.uploaded import LEFT_OUT, Code, pack
from ..image import head, is_dirty
from ..image.context import let_in
from ..project import Project
from . import say


def packed(project: Project, root: str) -> Code:
    """Pack it, to be kept below a pipeline root.

    Raises:
        UserError: see ``pack``.
    """
    path = project.path
    return pack(path, let_in(path, but=LEFT_OUT), root, head(path), is_dirty(path))


def send(code: Code) -> None:
    """Upload it, and say so."""
    sent = "sent" if upload_code(code) else "it was there already"
    say(f"Code:      {code.uri}, {len(code.archive) / 1000:.0f} kB, {sent}")
