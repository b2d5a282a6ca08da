"""Whether the bucket still has the raw data that was uploaded, which a job's first steps fetch, and keeps it."""

from collections.abc import Mapping
from contextlib import suppress

from ..cloud.upload import missing
from ..compile.plan import Plan
from ..contract.check import Doubt
from ..errors import UserError
from ..project import Project
from .data import upload_command


def check_uploads(project: Project) -> str:
    """Check all uploaded data of an environment.

    Raises:
        Doubt: when this identity may not look into the bucket, or the bucket will delete something.
        UserError: when something is gone.
    """
    uris = {place: data.uri for place, data in project.settings.data.items()}
    _refuse_lost(project, uris)
    if doubts := _find_short_lived(project, uris):
        raise Doubt(" ".join(doubts))
    return f"found in the bucket: {', '.join(uris)}"


def refuse_launch_without_data(project: Project, plan: Plan) -> list[str]:
    """Stop a launch if the bucket no longer has the data that the steps of its plan would fetch.

    Returns:
        Warnings of data that the bucket will delete.

    Raises:
        UserError: with the command that uploads it again.
    """
    uris = {raw.place: raw.uploaded.uri for raw in plan.raw if raw.uploaded}
    with suppress(Doubt):  # launching needs no right to look into the bucket
        _refuse_lost(project, uris)
    return _find_short_lived(project, uris)


def _refuse_lost(project: Project, uris: Mapping[str, str]) -> None:
    try:
        lost_uris = set(missing(uris.values()))
    except UserError as error:
        raise Doubt(f"{error}. To look, you need roles/storage.objectViewer on the bucket.") from None
    if lost := [f"{place} is no longer at {uri}" for place, uri in uris.items() if uri in lost_uris]:
        raise UserError(
            f"Uploaded data is gone: {'; '.join(lost)}. On a machine that has it, upload it again, and commit the "
            f"record: {upload_command(project)}"
        )


def _find_short_lived(project: Project, uris: Mapping[str, str]) -> list[str]:
    """Data where version 0.1 has put it: below the pipeline root, whose objects the bucket's rule deletes."""
    root = (project.settings.run_config.root or "").rstrip("/")
    return [
        f"{place} was uploaded to {uri} by an earlier version. If `make bootstrap` has made the bucket, its rule "
        f"deletes that 90 days after the upload. Upload it again: {upload_command(project)}"
        for place, uri in uris.items()
        if uri.startswith(f"{root}/data/")
    ]
