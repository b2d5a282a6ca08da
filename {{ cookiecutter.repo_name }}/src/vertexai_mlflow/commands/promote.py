"""``kedro vertexai promote``"""

import getpass
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from .. import tracking
from ..contract.names import CHAMPION
from ..errors import UserError
from ..project import Project
from ..tracking.promotion import Offer, Promotion, accept, offer, take_back
from . import options, say


@click.command("promote")
@click.option("--from-env", help="Environment whose registry has the version.  [default: that of -e]")
@click.option("--to-env", help="Environment whose champion it becomes.  [default: that of --from-env]")
@click.option("--version", type=click.IntRange(min=1), help="Which version.  [default: the champion of --from-env]")
@click.option("--undo", is_flag=True, help="Make the version the champion again that was it before the last promotion.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@options.pass_environment
def command(
    environment: options.Environment,
    from_env: str | None,
    to_env: str | None,
    version: int | None,
    undo: bool,
    dry_run: bool,
) -> None:
    """Make a registered version the champion, in its own environment or in another one."""
    source = from_env or environment.env
    target = to_env or source
    if undo:
        if version or from_env:
            raise click.UsageError("--undo needs only the environment: --to-env, or -e.")
        _tell_undone(_ask_in(environment.path, target, take_back, dry_run), dry_run)
        return
    if not version and source == target:
        raise click.UsageError("Name the --version, or another environment by --to-env.")
    with TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        model.mkdir()
        # A process has one header provider, so each environment gets a process of its own.
        offered = _ask_in(environment.path, source, offer, str(version or ""), "" if dry_run else str(model))
        say(f"{offered.name} version {offered.version}{_of(source)}, SHA-256 {offered.sha256}")
        say(f"From MLflow run {offered.run_id or 'unknown'}, {_job(offered)}, by {offered.user or 'unknown'}")
        if gate := offered.tags.get("gate"):
            say(f"Its gate: {gate}, {offered.tags.get('gate_reason', '')}")
        promotion = _ask_in(environment.path, target, accept, offered, str(model), _who(), dry_run)
    _tell(promotion, target, dry_run)


def _ask_in(path: Path, env: str | None, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process that knows only one environment, with the name of its registered model first."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_call, path, env, function, arguments).result()


def _call(path: Path, env: str | None, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    os.environ.pop("KEDRO_ENV", None)
    if env:
        os.environ["KEDRO_ENV"] = env
    project = Project(path, env)
    project.refuse_placeholders("mlflow")
    if (name := project.settings.run_config.registry.name) is None:
        raise UserError(f"{project.settings_file}: run_config.registry is missing, so this environment has no model.")
    with tracking.connected(path, env):
        return function(name, *arguments)


def _of(env: str | None) -> str:
    return f" of {env}" if env else ""


def _job(offered: Offer) -> str:
    job = offered.tags.get("vertexai_job_name")
    return f"job {job}" if job else "no job"


def _who() -> str:
    """Who promotes: in CI, who has started the pipeline there."""
    if name := os.environ.get("GITHUB_ACTOR") or os.environ.get("GITLAB_USER_LOGIN"):
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container, whose user may have no name
        return f"user {os.getuid()}"


def _tell(promotion: Promotion, env: str | None, dry_run: bool) -> None:
    before = "there was none" if promotion.replaced == "none" else f"it was version {promotion.replaced}"
    where = f"{promotion.name} version {promotion.version or '(new)'}{_of(env)}"
    if not promotion.is_change:
        say(f"{where} is the {CHAMPION} already.")
    elif dry_run:
        say(f"{where} would become the {CHAMPION}; {before}.")
    else:
        say(f"{where} is the {CHAMPION} now; {before}.", colour="green")


def _tell_undone(promotion: Promotion, dry_run: bool) -> None:
    verb = "would be" if dry_run else "is"
    if promotion.version == "none":
        say(f"{promotion.name} {verb} without a {CHAMPION} again; it was version {promotion.replaced}.")
    else:
        say(f"{promotion.name} version {promotion.version} {verb} the {CHAMPION} again, not {promotion.replaced}.")
