"""Where the steps get raw data from: the bucket, the image, or nowhere yet."""

from collections.abc import Iterable
from pathlib import Path

from ..cloud.upload import LocalData
from ..compile.plan import Plan
from ..errors import UserError, did_you_mean
from ..image.context import let_in
from ..project import Project


def sources(project: Project, plan: Plan) -> tuple[list[str], list[str], str]:
    """Where the steps of a plan get the files from that they only read.

    Args:
        project: the project, whose folder the image is built from.
        plan: the plan.

    Returns:
        What is known, what is doubtful, and what is missing with the cures; empty if nothing is.
    """
    known, doubtful, missing = [], [], []
    upload = _command(project)
    for raw in plan.raw:
        if raw.uploaded:
            known.append(f"{raw.place}: uploaded, {raw.uploaded.uri}")
        elif raw.place.startswith(("/", "~", "..")):
            doubtful.append(
                f"{raw.place} is outside of this folder. Upload it ({upload}), or the base image must have it."
            )
        elif not (project.path / raw.place).exists():
            missing.append(raw.place)
        elif let_in(project.path, raw.place):
            known.append(f"{raw.place}: in the image")
        else:
            doubtful.append(
                f"{raw.place} is in this folder, but it seems that .dockerignore keeps it out of the image. Let it in "
                f"there, or upload it: {upload}"
            )
    said = (
        f"Not in this folder, so not in the image either: {', '.join(missing)}. Copy it to the bucket, on a machine "
        f"that has it: {upload}. Or put it into this folder before the image is built, and let .dockerignore let it in."
    )
    return known, doubtful, said if missing else ""


def changed(project: Project, plan: Plan) -> list[str]:
    """Say which uploaded files and folders are on this machine as well, but are no longer the same."""
    found = []
    for raw in plan.raw:
        data = LocalData(project.path / Path(raw.place).expanduser())
        if raw.uploaded and data.files and not data.is_what(raw.uploaded):
            found.append(
                f"{raw.place} has changed since it was uploaded, and the steps get what was uploaded. To upload it "
                f"again: {_command(project)} {raw.datasets[0]}"
            )
    return found


def to_upload(project: Project, plan: Plan, names: Iterable[str]) -> dict[str, LocalData]:
    """What is to be uploaded of the data that a pipeline only reads.

    Args:
        project: the project.
        plan: of the pipeline.
        names: of datasets; if there are none, all that are on this machine.

    Returns:
        Its path, as the catalog has it → the data.

    Raises:
        UserError: naming all that steps could not fetch, or that is neither on this machine nor uploaded before.
    """
    known = {dataset for raw in plan.raw for dataset in raw.datasets}
    problems = [
        f"Pipeline '{plan.pipeline}' reads no raw data on local disk by dataset '{name}'.{did_you_mean(name, known)}"
        for name in names
        if name not in known
    ]
    chosen = {}
    for raw in plan.raw:
        data = LocalData(project.path / Path(raw.place).expanduser())
        if names and set(raw.datasets).isdisjoint(names):
            continue
        if data.files and raw.can_be_fetched:
            chosen[raw.place] = data
        elif data.files:
            problems.append(
                f"Dataset '{raw.datasets[0]}' would be fetched to {raw.place}, but in its image a step can only write "
                "below data/ and /tmp. Give it a path below data/."
            )
        elif names or not raw.uploaded:
            problems.append(
                f"Dataset '{raw.datasets[0]}': there is nothing at {raw.place} on this machine. Get it, or upload only "
                f"what is here: {_command(project)} NAME"
            )
    if problems:
        raise UserError("\n".join(problems))
    return chosen


def _command(project: Project) -> str:
    return f"kedro vertexai -e {project.env} upload-data" if project.env else "kedro vertexai upload-data"
