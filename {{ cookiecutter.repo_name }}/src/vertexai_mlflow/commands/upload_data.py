"""``kedro vertexai upload-data``"""

from functools import partial

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ..checks.data import to_upload
from ..cloud.upload import record, require_bucket, upload
from ..errors import shown
from . import console, options, say


@click.command("upload-data")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@options.pass_chosen
def command(chosen: options.Chosen, names: tuple[str, ...]) -> None:
    """Copy the raw data of a pipeline from this machine to the bucket, where its steps read it.

    NAME is a dataset that the pipeline only reads, with a path on local disk. Without names, all of them are copied.
    """
    project = chosen.project
    project.refuse_placeholders("vertexai")
    root = require_bucket(project.settings.run_config.root, project.settings_file)
    uploaded = {}
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        for place, data in to_upload(project, chosen.plan, names).items():
            bar = progress.add_task(shown(place), total=data.bytes)
            uploaded[place], sent = upload(data, root, partial(progress.advance, bar))
            how = f"copied {sent} of {uploaded[place].files} files" if sent else "already uploaded"
            progress.console.print(f"{place}: {how}", soft_wrap=True)
    for place, about in uploaded.items():
        say(f"{place}: {about.uri}")
    if uploaded:
        record(project.data_file, uploaded)
        say(f"Commit {project.name_of(project.data_file)}, so that every job fetches this data.")
    else:
        say(f"There is no raw data of pipeline '{chosen.plan.pipeline}' on this machine, so nothing was copied.")
