"""The first part of doctor's checklist: what can be checked before a launch without a network."""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from .. import __version__
from ..cloud import schedules
from ..cloud.request import refuse_unknown_fields
from ..compile.custom_job import describe_doubts
from ..compile.plan import Plan
from ..compile.width import count_one_after_the_other, describe_width
from ..contract.check import Check, Doubt, check
from ..contract.names import is_digest
from ..contract.spec import Spec
from ..errors import UserError, did_you_mean, not_filled_in
from ..image.context import credentials_in_image, files_in_image
from ..project import Project
from ..seal import problems
from .data import find_changes, find_sources
from .datasets import Datasets
from .lock import check_lock, check_versions
from .python import check_python
from .vertex_limits import GPU_TYPES, MAX_CPUS, MAX_MEMORY, REGIONS

# From how many steps in a row on a persistent resource may pay.
_MANY_STEPS = 5
_IMAGE = re.compile(r"[a-z0-9]+([._:/-]+[a-zA-Z0-9_]+)*(@sha256:[0-9a-f]{64})?")


def offline(project: Project, plan: Callable[[], Plan], compile_: Callable[[], Any]) -> Iterator[Check]:
    """Run the checks that need no network.

    Args:
        project: the project in its environment.
        plan: plans the pipeline to launch.
        compile_: compiles it.
    """
    yield check("platform", lambda: _check_platform(project))
    configured = check("configuration", lambda: _check_configuration(project), needed_to_ask=True)
    yield configured
    if not configured.ok:
        return
    placeholders = project.placeholders("mlflow", "vertexai")
    yield from (Check("placeholders", False, not_filled_in([place]), needed_to_ask=True) for place in placeholders)
    if not placeholders:
        yield Check("placeholders", True, "all that a launch from here needs is filled in")
        yield check("region", lambda: _check_region(project), needed_to_ask=True)
        yield check("image", lambda: _check_image(project))
    planned = check("pipeline", lambda: f"'{plan().pipeline}' becomes {len(plan().steps)} steps")
    yield planned
    if not planned.ok:
        return
    yield check("compilation", lambda: _check_compilation(compile_()))
    if project.settings.run_config.experiment_name:
        yield check("experiment", lambda: _check_experiment(project, compile_()["pipelineInfo"]["name"]))
    datasets = Datasets(project, plan())
    yield check("datasets", datasets.check)
    yield check("data", lambda: check_data(project, plan()))
    yield check("resources", lambda: _check_resources(plan()))
    if files := [name for name in files_in_image(project.path, project.conf.name) if "credentials" in name]:
        yield check("credentials", lambda: _check_credentials(project, files))
    if any(step.resources.is_custom_job for step in plan().steps):
        yield check("launcher image", lambda: _check_launcher_image(project))
    if project.settings.project_id and not project.settings.run_config.persistent_resource:
        yield check("start-up", lambda: _describe_start_up(plan()))
    yield check("schedules", lambda: _check_schedules(project))
    yield check("lock", lambda: check_lock(project, datasets.classes))
    yield check("python", lambda: check_python(project.path))
    yield check("versions", lambda: check_versions(project))


def _check_platform(project: Project) -> str:
    if sentences := problems(project.path):
        raise Doubt(" ".join(sentences))
    return f"vertexai_mlflow {__version__}, unmodified"


def _check_configuration(project: Project) -> str:
    warnings = project.warnings  # reads the settings
    project.refuse_file_store()
    if doubts := [*warnings, *project.left_behind]:
        raise Doubt(" ".join(doubts))
    return f"{project.settings_file} can be read"


def _check_region(project: Project) -> str:
    settings = project.settings
    if not settings.project_id and not settings.region:
        return "this environment launches nothing on Vertex AI: it has no project_id and no region"
    target = project.target
    if target.region not in REGIONS and not settings.api_endpoint:
        hint = did_you_mean(target.region, REGIONS).partition(" Known:")[0]
        raise Doubt(f"{project.settings_file}: region: {target.region} is not a region that this project knows.{hint}")
    return f"{target.region}, project {target.project_id}"


def _check_compilation(spec: Spec) -> str:
    refuse_unknown_fields(spec)
    return f"{len(spec['deploymentSpec']['executors'])} tasks"


def _check_experiment(project: Project, pipeline: str) -> str:
    name = project.settings.run_config.experiment_name
    if name == pipeline:
        raise UserError(
            f"{project.settings_file}: run_config.experiment_name: {name} is also the name of the compiled pipeline, "
            "and Vertex AI keeps both in one place. Choose another name."
        )
    return f"{name}, distinct from pipeline {pipeline}"


def check_data(project: Project, plan: Plan) -> str:
    """Check where the steps get the files from that they only read, and whether what they write is kept."""
    sources = find_sources(project, plan)
    available = "; ".join(sources.available)
    suffix = f" ({available})" if available else ""
    if sources.problems:
        raise UserError(" ".join(sources.problems) + suffix)
    if doubts := [*plan.warnings, *sources.doubtful, *find_changes(project, plan)]:
        raise Doubt(" ".join(doubts) + suffix)
    return available or "no raw data"


def _check_resources(plan: Plan) -> str:
    largest_cpu = max((step.resources.cores for step in plan.steps), default=Decimal(0))
    largest_memory = max((step.resources.bytes for step in plan.steps), default=Decimal(0))
    doubts = []
    for step in plan.steps:
        doubts += describe_doubts(step.name, step.resources)
        resources, where = step.resources, f"run_config.resources: step '{step.name}' asks for"
        if resources.is_custom_job:
            continue
        if resources.cores > MAX_CPUS or resources.bytes > MAX_MEMORY:
            doubts.append(
                f"{where} cpu {resources.cpu}, memory {resources.memory}; the largest machine that this project knows "
                f"has {MAX_CPUS} CPUs and {MAX_MEMORY // 10**9}G."
            )
        if resources.gpu and resources.gpu_type not in GPU_TYPES:
            hint = did_you_mean(resources.gpu_type or "", GPU_TYPES)
            if not resources.gpu_type:
                raise UserError(f"{where} {resources.gpu} GPU but has no gpu_type.{hint}")
            doubts.append(f"{where} GPU type {resources.gpu_type}, which this project does not know.{hint}")
    if doubts:
        raise Doubt(" ".join(doubts))
    largest = f"at most {largest_cpu} CPUs and {largest_memory / 10**9:.1f} GB for a step"
    return f"{largest if largest_cpu else 'default machines'}; {describe_width(plan.steps)}"


def _check_credentials(project: Project, files: list[str]) -> str:
    """Check that files with credentials that get into the image only name secrets. CI builds it without looking."""
    if others := sorted(set(files) - credentials_in_image(project.path, files)):
        raise UserError(
            f"{', '.join(others)}: .dockerignore lets this into the image. Only credentials_secrets.yml may be there."
        )
    return f"{', '.join(files)}: in the image, and only names secrets"


def _check_launcher_image(project: Project) -> str:
    image = project.settings.run_config.launcher_image
    if not is_digest(image):
        raise Doubt(
            f"{image} runs as your service account, and a tag can be moved. Copy it to your own registry and name the "
            "copy by digest: run_config.launcher_image (docs/how-to/machines.md)"
        )
    return image


def _describe_start_up(plan: Plan) -> str:
    number = count_one_after_the_other(plan.steps)
    text = f"{number} steps one after the other, each waits some minutes for a machine"
    if number < _MANY_STEPS:
        return text
    return f"{text}. run_config.persistent_resource would spare most of it, and is paid for also while idle"


def _check_schedules(project: Project) -> str:
    run_config = project.settings.run_config
    entries = run_config.schedule_entries
    for name, entry in entries.items():
        schedules.validate(entry, f"{project.settings_file}: {schedules.key_of(name, run_config)}")
    for name in schedules.scheduled_pipelines(run_config.schedules):
        project.pipeline(name)
    if ended := schedules.ended(run_config, project.settings_file):
        raise Doubt(" ".join(ended.values()))
    runs = {name: f"{schedules.next_run(entry):%Y-%m-%d %H:%M %Z}" for name, entry in entries.items()}
    return ", ".join(f"{name}: next run {moment}" for name, moment in runs.items()) or "none"


def _check_image(project: Project) -> str:
    image = project.settings.run_config.image
    if not _IMAGE.fullmatch(image):
        raise UserError(f"{project.settings_file}: run_config.image: {image} is not a valid name for an image.")
    if not (project.path / "Dockerfile").is_file():
        raise UserError(f"There is no Dockerfile to build {image} from: kedro docker init")
    return image
