"""Options and arguments that commands share, and what a command gets for them."""

import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.framework.cli.utils import _split_load_versions, _split_params, split_node_names, split_string
from omegaconf.errors import OmegaConfBaseException

from ..cloud.upload import missing
from ..compile.plan import Plan, plan_pipeline
from ..compile.resume import resume, told
from ..compile.spec import Spec, default_params
from ..contract import START_TASK, merged
from ..contract.catalog import Catalog
from ..contract.job import PipelineJob
from ..contract.uploaded import Code
from ..errors import UserError, launch_extra
from ..project import Project
from . import say

Command = Callable[..., None]


@dataclass(frozen=True)
class Environment:
    """The project and its configuration environment, which ``kedro vertexai -e ENV`` names."""

    path: Path
    env: str | None

    @property
    def kedro(self) -> str:
        """How a command in this environment begins."""
        return f"kedro vertexai -e {self.env}" if self.env else "kedro vertexai"

    def project(self, params: dict[str, Any] | None = None, conf_source: str | None = None) -> Project:
        """The project, read in that environment with these runtime parameters."""
        project = Project(self.path, self.env, params, conf_source)
        if self.env:
            os.environ["KEDRO_ENV"] = self.env  # the configuration may take it, as run_config.root does
        return project

    def warn(self, warnings: Iterable[str]) -> None:
        """Print warnings to stderr."""
        for warning in warnings:
            say(f"Warning: {warning}", colour="yellow", err=True)


@dataclass(frozen=True)
class Chosen:
    """What is to run: a pipeline of the project, or a part of it, with runtime parameters."""

    environment: Environment
    project: Project
    pipeline: str
    selection: Mapping[str, Any]
    load_versions: Mapping[str, str] = field(default_factory=dict)
    is_async: bool = False
    allow_unused: bool = False
    resumes: PipelineJob | None = None
    again: Sequence[str] = ()

    @functools.cached_property
    def plan(self) -> Plan:
        """Its plan; of a job that resumes another one, what is still to be done.

        Raises:
            UserError: also when something is gone that the earlier job has made.
        """
        whole = plan_pipeline(self.project, self.pipeline, self.selection, self.allow_unused)
        if not self.resumes:
            return whole
        plan = resume(whole, self.resumes, self.again, Catalog(self.project.config("catalog"), "catalog.yml").entry)
        if gone := missing(plan.must_exist):
            nodes = ",".join(sorted({plan.must_exist[place] for place in gone}))
            raise UserError(f"Gone since job {self.resumes.name}: {', '.join(gone)}. Make it again: --from {nodes}")
        return plan

    def compile(self, image: str | None = None, cache_here: bool = False, code: Code | None = None) -> Spec:
        """Its spec, with another image or other code of the steps if one is given; see ``compile_pipeline``."""
        # Not at the top: what needs no spec also runs without the KFP SDK, which an image does not have.
        with launch_extra():
            from ..compile.compiler import compile_pipeline
        return compile_pipeline(self.project, self.plan, image, self.load_versions, self.is_async, cache_here, code)


def chosen_again(environment: Environment, job: PipelineJob, params: dict[str, Any], again: Sequence[str]) -> Chosen:
    """What an earlier job was told to run, to be resumed.

    Args:
        environment: the environment.
        job: the job, with its spec.
        params: runtime parameters that count before those of the job.
        again: nodes that run again although they have finished.

    Raises:
        UserError: when it was launched in another environment, or by another version of this project.
    """
    before = told(job).get(START_TASK)
    if not before or any(not step.fingerprint for step in told(job).values() if step.nodes):
        raise UserError(f"Job {job.name} cannot be resumed: its spec does not tell what its steps depend on.")
    if before.env != (environment.env or ""):
        cure = f"-e {before.env}" if before.env else "no -e"
        raise UserError(f"Job {job.name} was launched in another environment. Resume it with {cure}.")
    given = default_params(job.spec)
    project = environment.project(merged(given, params), before.conf_source or None)
    return Chosen(
        environment,
        project,
        before.pipeline,
        before.selection,
        before.load_versions,
        before.is_async,
        allow_unused=True,
        resumes=job,
        again=again,
    )


# Which part of a pipeline: names and meaning are those of `kedro run`, keys those of Kedro's Pipeline.filter.
_SELECTION = {
    "from_nodes": ("--from-nodes", "These nodes and all that follow them.", split_node_names),
    "to_nodes": ("--to-nodes", "These nodes and all that they need.", split_node_names),
    "node_names": ("--nodes", "Only these nodes.", split_node_names),
    "tags": ("--tags", "Only nodes with one of these tags.", split_string),
    "node_namespaces": ("--namespaces", "Only nodes in one of these namespaces.", split_node_names),
    "from_inputs": ("--from-inputs", "What follows from these datasets.", split_string),
    "to_outputs": ("--to-outputs", "What these datasets need.", split_string),
}


def _parse_params(ctx: click.Context, param: click.Parameter, value: str) -> Any:
    """Runtime parameters as Kedro reads them; of a value that is no YAML, Kedro would show a traceback."""
    try:
        return _split_params(ctx, param, value)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        said = " ".join(str(error).split())
        raise click.BadParameter(f"{value!r} has a value that is not well-formed YAML ({said}).", ctx, param) from None


_NOT_ONLY_MISSING = (
    "--only-missing-outputs: steps run in containers that start with empty disks, so no output can be there "
    "before a job runs. To take what an earlier run has made, see run_config.caching."
)

image = click.option("-i", "--image", help="Container image of the steps.  [default: run_config.image]")
code = click.option(
    "--code",
    type=click.Choice(["image", "upload"]),
    default="image",
    show_default=True,
    help="Run the code that the image has, or upload this working tree's and run that in the image.",
)
params = click.option(
    "--params", default="", callback=_parse_params, help="Runtime parameters as for kedro run: a=1,b.c=x"
)
again = click.option(
    "--from",
    "again",
    default="",
    callback=split_node_names,
    help="Nodes to run again although they have finished.  a,b",
)
job = click.argument("job")
wait_for_completion = click.option(
    "--wait-for-completion", is_flag=True, help="Follow the job to its end; exit with 1 if it fails."
)
style = click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)


def pass_environment(command: Command) -> Command:
    """Give a command the environment that it is called in as its first argument."""

    @functools.wraps(command)
    def with_environment(**options: Any) -> None:
        context = click.get_current_context()
        command(Environment(context.obj.project_path, context.meta["env"]), **options)

    return with_environment


def pass_chosen(command: Command) -> Command:
    """Options that choose what is to run; the command gets it as its first argument."""

    @functools.wraps(command)
    def with_chosen(
        environment: Environment,
        pipeline: list[str],
        params: dict[str, Any],
        conf_source: str | None,
        load_versions: dict[str, str],
        is_async: bool,
        allow_unused: bool,
        only_missing_outputs: bool,
        **options: Any,
    ) -> None:
        if only_missing_outputs:
            raise click.UsageError(_NOT_ONLY_MISSING)
        selection = {name: value for name in _SELECTION if (value := options.pop(name))}
        project = environment.project(params, conf_source)
        chosen = Chosen(environment, project, ",".join(pipeline), selection, load_versions, is_async, allow_unused)
        command(chosen, **options)

    collected = pass_environment(with_chosen)
    for name, (option, help_, split) in reversed(_SELECTION.items()):
        collected = click.option(option, name, default="", callback=split, help=f"{help_}  a,b")(collected)
    for decorate in (
        click.option("--only-missing-outputs", is_flag=True, help="Refused, because steps start with empty disks."),
        click.option("--async", "is_async", is_flag=True, help="Load and save a node's datasets side by side."),
        click.option("--allow-unused", is_flag=True, help="Take any --params, also those that no node uses."),
        click.option("--conf-source", help="Folder of this project with the configuration.  [default: conf]"),
    ):
        collected = decorate(collected)
    help_ = "Versions of datasets to load, as for kedro run: a:2026-01-01T00.00.00.000Z"
    collected = click.option("--load-versions", default="", callback=_split_load_versions, help=help_)(collected)
    collected = params(collected)
    help_ = "Name of the pipeline, or of several: a,b"
    names = ("-p", "--pipeline", "--pipelines", "pipeline")
    return click.option(*names, default="__default__", show_default=True, callback=split_string, help=help_)(collected)
