"""Options and arguments that commands share, and what a command gets for them."""

import functools
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.framework.cli.utils import _split_load_versions, _split_params, split_node_names, split_string
from omegaconf.errors import OmegaConfBaseException

from ..cloud.upload import missing
from ..compile.plan import Plan, plan_pipeline
from ..compile.refusals import refuse_unknown_versions
from ..compile.resume import finished_steps, job_arguments_of, resume, step_arguments_of
from ..contract.catalog import Catalog
from ..contract.job import PipelineJob
from ..contract.launch import Launch
from ..contract.params import leaves, merged
from ..contract.spec import Spec, default_params, with_arguments
from ..contract.uploaded import Code
from ..errors import UserError, launch_extra
from ..git import repository
from ..markdown import as_line
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

    def project(
        self, params: Mapping[str, Any] | None = None, conf_source: str | None = None, launch: str = ""
    ) -> Project:
        """The project, read in that environment with these runtime parameters, which count before those of a launch.

        Args:
            params: nested.
            conf_source: folder of the configuration; by default, Kedro's.
            launch: entry of ``run_config.launches``.
        """
        project = Project(self.path, self.env, dict(params or {}), conf_source)
        if not launch:
            return project
        return Project(self.path, self.env, merged(project.launch(launch).params, project.params), conf_source, launch)

    def warn(self, warnings: Iterable[str]) -> None:
        """Print warnings to stderr."""
        for warning in warnings:
            say(f"Warning: {warning}", colour="yellow", err=True)


@dataclass(frozen=True)
class Chosen:
    """What is to run.

    Args:
        environment: the environment.
        project: the project in it, with the launch's runtime parameters.
        launch: which pipeline, or which part of it, and what it runs with.
        allow_unused: whether runtime parameters may be given that nothing seems to use.
        resumed: the job that this one resumes.
        rerun: nodes of that job that run again although they have finished.
    """

    environment: Environment
    project: Project
    launch: Launch
    allow_unused: bool = False
    resumed: PipelineJob | None = None
    rerun: Sequence[str] = ()

    @functools.cached_property
    def plan(self) -> Plan:
        """Its plan; of a job that resumes another one, what is still to be done.

        Raises:
            UserError: also when something is gone that the earlier job has made.
        """
        launch = self.launch
        whole = plan_pipeline(self.project, launch.pipeline, launch.selection, self.allow_unused)
        entries = Catalog(self.project.config("catalog"), "catalog.yml")
        datasets = {name for step in whole.steps for name in (*step.inputs, *step.outputs)}
        refuse_unknown_versions(launch.load_versions, entries, datasets)
        if not self.resumed:
            return whole
        plan = resume(whole, self.resumed, self.rerun, entries.entry, self.project.settings.run_config.root)
        if gone := missing(plan.must_exist):
            nodes = ",".join(sorted({plan.must_exist[place] for place in gone}))
            raise UserError(f"Gone since job {self.resumed.name}: {', '.join(gone)}. Make it again: --rerun {nodes}")
        return plan

    def show_taken(self) -> None:
        """Print the steps whose results are taken from the job that this one resumes."""
        for name in self.plan.resumed.get("fingerprints", ()):
            say(f"TAKEN         {name} from {self.plan.resumed['job']}")

    def compile(self, image: str | None = None, cache_here: bool = False, code: Code | None = None) -> Spec:
        """Its spec, with another image or other code of the steps if one is given; see ``compile_plan``."""
        # Not at the top: what needs no spec also runs without the KFP SDK, which an image does not have.
        with launch_extra():
            from ..compile.compiler import compile_pipeline
        launch = replace(self.launch, image=image or "", code=code)
        return compile_pipeline(self.project, self.plan, launch, cache_here)


def launched_from(project: Path, spec: Spec, command: str = "", schedule: str = "") -> Spec:
    """Say in a spec where it was launched, for the job's MLflow run.

    Args:
        project: the project's folder.
        spec: the spec.
        command: what was typed; by default, how Kedro was started.
        schedule: the entry of ``run_config.schedules`` that launches it.
    """
    typed = command or shlex.join(["kedro", *sys.argv[1:]])
    return with_arguments(spec, {"command": as_line(typed), "repository": repository(project), "schedule": schedule})


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def show_how_to_go_on(job: PipelineJob, command: str) -> None:
    """Print the command that resumes a job, with the runtime parameters that it keeps, if the job has a result."""
    with suppress(UserError):  # a job of somebody else has what only Vertex AI can run
        if not finished_steps(job):
            return
        parameters = ", ".join(_shorten(f"{name}={value}") for name, value in leaves(default_params(job.spec)))
        say(f"To go on from there{f' with {parameters}' if parameters else ''}: {command}")


def choose_rest_of(job: PipelineJob, environment: Environment, params: dict[str, Any], rerun: Sequence[str]) -> Chosen:
    """Choose what an earlier job was launched with, to be resumed.

    Args:
        job: the job, with its spec.
        environment: the environment.
        params: runtime parameters that count before those of the job.
        rerun: nodes that run again although they have finished.

    Raises:
        UserError: when it was launched in another environment, or by another version of this project.
    """
    start = job_arguments_of(job)
    if not start or any(not arguments.fingerprint for arguments in step_arguments_of(job).values()):
        raise UserError(f"Job {job.name} cannot be resumed: its spec does not tell what its steps depend on.")
    if start.env != (environment.env or ""):
        fix = f"-e {start.env}" if start.env else "no -e"
        raise UserError(f"Job {job.name} was launched in another environment. Resume it with {fix}.")
    project = environment.project(
        merged(default_params(job.spec), params), start.conf_source or None, launch=start.launch
    )
    launch = Launch(
        package=project.package_name,
        pipeline=start.pipeline,
        selection=start.selection,
        params=project.params,
        load_versions=start.load_versions,
        is_async=start.is_async,
        env=start.env,
        conf_source=start.conf_source,
        name=start.launch,
    )
    return Chosen(environment, project, launch, allow_unused=True, resumed=job, rerun=rerun)


def choose_launch(
    environment: Environment, name: str, params: Mapping[str, Any], conf_source: str | None = None, **more: Any
) -> Chosen:
    """Choose an entry of ``run_config.launches``.

    Args:
        environment: the environment.
        name: the entry.
        params: runtime parameters that count before its own.
        conf_source: folder of the configuration; by default, Kedro's.
        more: further fields of ``Launch``.

    Raises:
        UserError: when there is none of this name.
    """
    project = environment.project(params, conf_source, name)
    entry = project.launch(name)
    launch = Launch(
        package=project.package_name,
        pipeline=entry.pipeline,
        selection=entry.selection.as_filter(),
        params=project.params,
        env=environment.env or "",
        conf_source=conf_source or "",
        name=name,
        **more,
    )
    return Chosen(environment, project, launch)


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
# The most characters of a runtime parameter that the line about resuming shows.
_LONGEST = 60
_NOT_ONLY_MISSING = (
    "--only-missing-outputs: steps run in containers that start with empty disks, so no output can be there "
    "before a job runs. To take what an earlier run has made, see run_config.caching."
)


def _parse_params(ctx: click.Context, param: click.Parameter, value: str) -> Any:
    """Runtime parameters as Kedro reads them; of a value that is no YAML, Kedro would show a traceback."""
    try:
        return _split_params(ctx, param, value)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        message = " ".join(str(error).split())
        raise click.BadParameter(
            f"{value!r} has a value that is not well-formed YAML ({message}).", ctx, param
        ) from None


def _warn_of_old_spelling(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """An option of version 0.1, which 0.3 will not have any more."""
    if value:
        say(f"Warning: {param.opts[0]} is called {_NEW_SPELLINGS[param.opts[0]]} now.", colour="yellow", err=True)
    return value


_NEW_SPELLINGS = {"--from": "--rerun", "--code": "--upload-code"}

image = click.option("-i", "--image", help="Container image of the steps.  [default: run_config.image]")
params = click.option(
    "--params", default="", callback=_parse_params, help="Runtime parameters as for kedro run: a=1,b.c=x"
)
job = click.argument("job")
wait_for_completion = click.option(
    "--wait-for-completion", is_flag=True, help="Follow the job to its end; exit with 1 if it fails."
)
style = click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True)
_CHOOSING = [
    click.option(
        "-p", "--pipeline", "--pipelines", "pipeline", default="__default__", show_default=True, callback=split_string,
        help="Name of the pipeline, or of several: a,b",
    ),
    click.option("--launch", "launch_name", default="", help="Name of an entry of run_config.launches, instead."),
    params,
    click.option(
        "--load-versions", default="", callback=_split_load_versions,
        help="Versions of datasets to load, as for kedro run: a:2026-01-01T00.00.00.000Z",
    ),
    click.option("--conf-source", help="Folder of this project with the configuration.  [default: conf]"),
    click.option("--allow-unused", is_flag=True, help="Take any --params, also those that no node uses."),
    click.option("--async", "is_async", is_flag=True, help="Load and save a node's datasets side by side."),
    click.option(
        "--runner-params", default="", callback=_parse_params,
        help="As for kedro run: is_async=true, the newer spelling of --async.",
    ),
    click.option("--only-missing-outputs", is_flag=True, help="Refused, because steps start with empty disks."),
    *(
        click.option(option, name, default="", callback=split, help=f"{purpose}  a,b")
        for name, (option, purpose, split) in _SELECTION.items()
    ),
]  # fmt: skip


def _is_async(runner_params: Mapping[str, Any]) -> bool:
    """What ``--runner-params`` says about loading and saving side by side, which is all that it can say here."""
    if others := runner_params.keys() - {"is_async"}:
        raise click.UsageError(
            f"--runner-params: {', '.join(sorted(others))} has no effect, because each step has a process or container "
            "of its own. Only is_async has one. How many steps run at once is --max-workers of run-local."
        )
    return bool(runner_params.get("is_async"))


def rerun(command: Command) -> Command:
    """The option that names nodes of an earlier job to run again."""

    @functools.wraps(command)
    def with_rerun(*arguments: Any, rerun: list[str], from_: list[str], **options: Any) -> None:
        command(*arguments, rerun=rerun or from_, **options)

    text = "Nodes to run again although they have finished.  a,b"
    new = click.option("--rerun", default="", callback=split_node_names, help=text)
    old = click.option("--from", "from_", default="", hidden=True, callback=_split_old_spelling)
    return new(old(with_rerun))


def _split_old_spelling(ctx: click.Context, param: click.Parameter, value: str) -> Any:
    return split_node_names(ctx, param, _warn_of_old_spelling(ctx, param, value))


def upload_code(command: Command) -> Command:
    """The option that lets the steps run the code of this working tree."""

    @functools.wraps(command)
    def with_upload_code(*arguments: Any, upload_code: bool, code: str | None, **options: Any) -> None:
        command(*arguments, upload_code=upload_code or code == "upload", **options)

    text = "Upload the code of this working tree, and run that in the image that is there."
    new = click.option("--upload-code", is_flag=True, help=text)
    choices = click.Choice(["image", "upload"])
    old = click.option("--code", type=choices, hidden=True, callback=_warn_of_old_spelling)
    return new(old(with_upload_code))


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
        is_async = _is_async(options.pop("runner_params")) or is_async
        selection = {name: value for name in _SELECTION if (value := options.pop(name))}
        if name := options.pop("launch_name"):
            source = click.get_current_context().get_parameter_source("pipeline")
            if selection or source != click.core.ParameterSource.DEFAULT:
                raise click.UsageError("--launch names the pipeline and its part, so it goes with no other choice.")
            how = {"load_versions": load_versions, "is_async": is_async}
            chosen_launch = choose_launch(environment, name, params, conf_source, **how)
            command(replace(chosen_launch, allow_unused=allow_unused), **options)
            return
        project = environment.project(params, conf_source)
        launch = Launch(
            package=project.package_name,
            pipeline=",".join(pipeline),
            selection=selection,
            params=params,
            load_versions=load_versions,
            is_async=is_async,
            env=environment.env or "",
            conf_source=conf_source or "",
        )
        command(Chosen(environment, project, launch, allow_unused), **options)

    chosen = pass_environment(with_chosen)
    for option in reversed(_CHOOSING):
        chosen = option(chosen)
    return chosen
