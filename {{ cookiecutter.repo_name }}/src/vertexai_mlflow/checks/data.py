"""Where the steps get raw data from: the bucket, the image, or nowhere yet."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..cloud.upload import LocalData
from ..compile.plan import Plan
from ..compile.raw import ONLY_BELOW_DATA
from ..contract.catalog import Catalog
from ..contract.places import base_of, files_at
from ..errors import UserError, did_you_mean
from ..image.context import files_in_image, links_out_of_image
from ..project import Project


@dataclass(frozen=True)
class Sources:
    """Where the steps get the files from that they only read. Each list has sentences.

    Args:
        available: a file, and where the steps get it from.
        doubtful: a warning about a file that may not be in the image.
        problems: an error that names all files that the steps cannot get; none if there are no such files.
    """

    available: list[str]
    doubtful: list[str]
    problems: list[str]


def find_sources(project: Project, plan: Plan) -> Sources:
    """Find out where the steps of a plan get the files from that they only read.

    Args:
        project: the project, whose folder the image is built from.
        plan: the plan.
    """
    sources, missing = Sources([], [], []), []
    upload = upload_command(project)
    for raw in plan.raw:
        if raw.uploaded:
            sources.available.append(f"{raw.place}: uploaded, {raw.uploaded.uri}")
        elif raw.place.startswith(("/", "~", "..")):
            sources.doubtful.append(
                f"{raw.place} is outside this folder. Upload it ({upload} {raw.datasets[0]}), or put it into the base "
                "image."
            )
        elif not (files := files_at(project.path / raw.place)):
            missing.append(raw.place)
        elif links := links_out_of_image(project.path, files):
            sources.problems.append(
                f"{raw.place}: {', '.join(links)} is a link, and the image gets the link without what it leads to. "
                f"Upload it: {upload} {raw.datasets[0]}"
            )
        elif _is_in_image(project.path, raw.place, files):
            sources.available.append(f"{raw.place}: in the image")
        else:
            sources.doubtful.append(
                f"{raw.place} is in this folder, but .dockerignore seems to keep it out of the image. Let it in there, "
                f"or upload it: {upload}"
            )
    if missing:
        sources.problems.append(
            f"Not in this folder, so not in the image either: {', '.join(missing)}. On a machine that has it, copy it "
            f"to the bucket: {upload}. Or put it into this folder before the image is built, and let .dockerignore "
            "let it in."
        )
    return sources


def refuse_missing_files(project: Project, plan: Plan) -> list[str]:
    """Refuse to start a run on this machine whose first node reads a file that is not there.

    A node that runs before, or a hook, may make a file without telling Kedro, so any other missing file is a warning.

    Returns:
        The other missing files, in whole sentences.

    Raises:
        UserError: when ``kedro run`` would end there as well, naming all missing files.
    """
    catalog = Catalog(project.config("catalog"), "catalog.yml")
    uploaded = {raw.place for raw in plan.raw if raw.uploaded}
    missing: dict[str, str] = {}
    for step in plan.steps:
        for dataset in step.inputs:
            entry = catalog.entry(dataset)
            if not entry or not entry.is_one_file or not set(entry.places) <= set(plan.reads.get(step.name, ())):
                continue
            if not uploaded.intersection(entry.places) and not _local_data(project, entry.places[0]).files:
                sentence = f"Dataset '{dataset}' (input of step '{step.name}'): there is no file {entry.path}."
                missing.setdefault(dataset, sentence)
    # Of a resumed job, other nodes have run before. An empty pipeline has no first node.
    first = [] if plan.resumed else project.pipeline(plan.pipeline, plan.selection).nodes[:1]
    if any(missing.keys() & set(node.inputs) for node in first) and not project.has_hooks:
        raise UserError("\n".join([*missing.values(), "Put it there, or correct filepath in the catalog."]))
    return [f"{sentence} It must be made before by a node or a hook." for sentence in missing.values()]


def find_changes(project: Project, plan: Plan) -> list[str]:
    """Warn of uploaded files and folders that are on this machine as well, and have changed since."""
    return [
        f"{raw.place} has changed since it was uploaded, and the steps will read what was uploaded. To upload it "
        f"again: {upload_command(project)} {raw.datasets[0]}"
        for raw in plan.raw
        if raw.uploaded and (data := _local_data(project, raw.place)).files and not data.is_what(raw.uploaded)
    ]


def to_upload(project: Project, plan: Plan, names: Iterable[str]) -> dict[str, LocalData]:
    """Choose what to upload of the data that a pipeline only reads.

    Args:
        project: the project.
        plan: of the pipeline.
        names: of datasets; if there are none, all that are on this machine. A catalog that somebody else has written
            may name any file of the user's, so what is outside of the project is sent only by name.

    Returns:
        Its path, as the catalog has it → the data.

    Raises:
        UserError: naming all that steps could not fetch, or that is neither on this machine nor uploaded before.
    """
    datasets = {dataset for raw in plan.raw for dataset in raw.datasets}
    problems = [
        f"Pipeline '{plan.pipeline}' reads no raw data on local disk through dataset '{name}'."
        f"{did_you_mean(name, datasets)}"
        for name in names
        if name not in datasets
    ]
    chosen = {}
    for raw in plan.raw:
        data = _local_data(project, raw.place)
        if names and set(raw.datasets).isdisjoint(names):
            continue
        if not names and (outside := _find_outside(project, data.files.values())):
            problems.append(
                f"Dataset '{raw.datasets[0]}' at {raw.place} would send {outside}, which is outside of this project. "
                f"If whoever may read the bucket may read it, name the dataset: {upload_command(project)} "
                f"{raw.datasets[0]}"
            )
        elif data.files and raw.can_be_fetched:
            chosen[raw.place] = data
        elif data.files:
            problems.append(f"Dataset '{raw.datasets[0]}' would be fetched to {raw.place}, but {ONLY_BELOW_DATA}")
        elif names or not raw.uploaded:
            problems.append(
                f"Dataset '{raw.datasets[0]}': there is nothing at {raw.place} on this machine. Get it, or upload only "
                f"what is here: {upload_command(project)} NAME"
            )
    if problems:
        raise UserError("\n".join(problems))
    return chosen


def _find_outside(project: Project, files: Iterable[Path]) -> Path | None:
    """The first file that lies outside of the project, or that a link leads to."""
    top = project.path.resolve()
    return next((path for path in (file.resolve() for file in files) if not path.is_relative_to(top)), None)


def _is_in_image(project: Path, place: str, files: Iterable[Path]) -> bool:
    """Whether any of a place's files is in the image, as such or below a link that is."""
    in_image = files_in_image(project, base_of(place).as_posix())
    names = [path.relative_to(project) for path in files]
    return any(path.as_posix() in in_image for name in names for path in (name, *name.parents))


def _local_data(project: Project, place: str) -> LocalData:
    return LocalData(project.path / Path(place).expanduser())


def upload_command(project: Project) -> str:
    """The command that uploads raw data of this environment."""
    return f"kedro vertexai -e {project.env} upload-data" if project.env else "kedro vertexai upload-data"
