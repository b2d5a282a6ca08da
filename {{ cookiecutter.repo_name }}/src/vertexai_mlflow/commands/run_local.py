"""``kedro vertexai run-local``"""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from .. import tracking
from ..auth.secrets import SECRET_PREFIX
from ..checks.data import refuse_missing_files
from ..checks.datasets import refuse_impossible
from ..contract.job import PipelineJob, State
from ..contract.spec import Spec, read_spec, tasks, with_params
from ..errors import short_path
from ..git import head
from ..image.docker import project_mismatch, refuse_other_version, require_image
from ..local.containers import Containers
from ..local.jobs import read_contents, read_job, require_writable
from ..local.preloaded import Preloaded
from ..local.processes import environment
from ..local.scheduler import RunOptions, run_spec
from ..project import tracking_uri
from ..show import tables
from ..show.last_lines import last_lines
from ..show.progress import progress
from . import console, job_page, options, say, working_tree

# What DuckDB and SQLite say about a file that another process has opened.
_LOCKED = re.compile("could not set lock|database is locked", re.IGNORECASE)
_EXIT_CODES: dict[str, int] = {State.SUCCEEDED: 0, State.FAILED: 1, State.CANCELLED: 130}


@click.command("run-local")
@click.option("--max-workers", type=click.IntRange(min=1), help="Steps side by side.  [default: one per CPU]")
@click.option(
    "--spec", "file", type=click.Path(dir_okay=False, path_type=Path),
    help="Run this compiled spec instead of compiling one.",
)  # fmt: skip
@click.option("--docker", is_flag=True, help="Run each step in its image, in a container, instead of a process.")
@click.option("--cold", is_flag=True, help="Start Python anew for each step, as a container does.")
@click.option("--resume", "job", help="Run what this job has not finished; only --params and --rerun change what runs.")
@options.rerun
@click.option("--profile", is_flag=True, help="At the end, show where the time of each step went.")
@options.upload_code
@options.image
@options.pass_chosen
def command(
    chosen: options.Chosen,
    max_workers: int | None,
    file: Path | None,
    docker: bool,
    cold: bool,
    job: str | None,
    rerun: list[str],
    profile: bool,
    image: str | None,
    upload_code: bool,
) -> None:
    """Run the compiled pipeline on this machine, each step in a process or container of its own."""
    if file and chosen.launch.selection:
        raise click.UsageError("--spec runs a spec as it was compiled. Choose the part when you compile it.")
    if image and (file or not docker):
        raise click.UsageError("--image goes with --docker, and not with --spec, which names its images.")
    if upload_code and (file or not docker):
        raise click.UsageError(
            "--upload-code goes with --docker, and not with --spec. A process runs this code anyway."
        )
    if file and job:
        raise click.UsageError("--resume compiles what is left of a job, so it does not go with --spec.")
    folder = chosen.project.path / ".vertexai"
    require_writable(folder)
    if job:
        earlier = read_job(folder / job)
        chosen = options.choose_rest_of(earlier, chosen.environment, chosen.project.params, rerun)
    project = chosen.project
    project.refuse_placeholders("mlflow")
    project.refuse_file_store()
    started = time.monotonic()
    packed = working_tree.packed(project, str(folder)) if upload_code else None
    if packed:
        working_tree.send(packed)
    with _preloaded(chosen, folder, cold or docker) as preloaded, progress() as show:
        # The interpreter imports while this looks and compiles.
        if not file:
            chosen.environment.warn(refuse_impossible(project, chosen.plan, runs_here=not docker))
            chosen.environment.warn([] if docker else refuse_missing_files(project, chosen.plan))
        spec = (
            with_params(read_spec(file), project.params)
            if file
            else chosen.compile(image, cache_here=True, code=packed)
        )
        spec = options.launched_from(project.path, spec)
        with_variables = [task.name for task in tasks(spec) if task.container.get("env")]
        if preloaded and with_variables:
            chosen.environment.warn(
                [f"These start Python anew, with variables of their own: {', '.join(with_variables)}."]
            )
        if not file:
            chosen.show_taken()
        run_options = RunOptions(
            folder,
            project.path,
            max_workers=max_workers,
            containers=containers_of(chosen, spec, upload_code) if docker else None,
            preloaded=preloaded,
            fail_fast=project.settings.run_config.failure_policy == "fail_fast",
            conf=project.conf,
            config_variables=project.configuration.variables,
        )
        done = run_spec(spec, run_options, on_change=show)
    if profile:
        console().print(tables.profile_as_table(done))
    show_end(done, folder / done.name)
    say(f"Took {time.monotonic() - started:.1f} s")
    if not done.succeeded:
        how = " --docker --upload-code" if docker else ""
        how += f" --image {image}" if image else ""
        options.show_how_to_go_on(
            replace(done, spec=spec), f"{chosen.environment.kedro} run-local{how} --resume {done.name}"
        )
    say(f"{done.name}: {done.state}", colour="green" if done.succeeded else "red")
    click.get_current_context().exit(_EXIT_CODES[done.state])


@contextmanager
def _preloaded(chosen: options.Chosen, folder: Path, cold: bool) -> Iterator[Preloaded | None]:
    """An interpreter whose forks are the steps, where forking is safe; where it is not, that is said once."""
    if cold or sys.platform != "linux":
        if not cold:
            chosen.environment.warn(
                ["Each step starts Python anew. Only on Linux an interpreter can be forked safely."]
            )
        yield None
        return
    preloaded = Preloaded(chosen.project.path, folder / ".preloaded.json", environment())
    try:
        yield preloaded
        if preloaded.why_not:
            chosen.environment.warn([f"Each step has started Python anew: {preloaded.why_not}."])
    finally:
        preloaded.close()


def containers_of(chosen: options.Chosen, spec: Spec, uploads: bool = False) -> Containers:
    """How the steps run in containers, which share an embedded MLflow store of this project.

    Args:
        chosen: what runs.
        spec: its spec.
        uploads: whether the steps run uploaded code, so that the image may be of another commit.
    """
    project = chosen.project
    project.refuse_configuration_elsewhere()
    for image in sorted({task.container["image"] for task in tasks(spec) if task.container}):
        require_image(image)
        refuse_other_version(image)
        if doubt := project_mismatch(project.package_name, image, "" if uploads else head(project.path)):
            chosen.environment.warn([doubt])
    store = project.shared_mlflow()
    if store.startswith("sqlite:"):
        # The experiment, and with it the place of its artifacts, is made here, where the containers look for both.
        with tracking_uri(store), tracking.connected(project.path, project.env):
            tracking.ask()
    secrets = {name: value for name, value in os.environ.items() if name.startswith(SECRET_PREFIX)}
    return Containers(project.path, {"MLFLOW_TRACKING_URI": store, **secrets})


def show_end(job: PipelineJob, folder: Path) -> None:
    """Print what has failed in a job, and where to look; write its page."""
    for task in job.failed_tasks:
        log = Path(task.log)
        say(f"\n{task.name} failed: {task.error}. From its log, {short_path(log, Path.cwd())}:", colour="red")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        say("\n".join(f"  {line}" for line in last_lines(lines, Path.cwd())))
        if _LOCKED.search("\n".join(lines[-15:])):
            say("Two steps may have opened one file at the same time. To run them one by one: --max-workers 1")
    if job.mlflow_run:
        say(f"MLflow: {job.mlflow_run}")
    say(f"Logs and artifacts: {short_path(folder, Path.cwd())}")
    page = folder / "job.html"
    try:
        job_page.write(job, job_page.with_local_logs(job, read_contents(folder)), page)
        say(f"The job's page: {short_path(page, Path.cwd())}")
    except Exception as error:  # whatever it is, the job is none the worse for it
        say(f"The job has no page. {error}", colour="yellow", err=True)
