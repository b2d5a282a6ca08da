"""The first part of doctor's checklist: what can be found out before anything is launched, without a network."""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from .. import __version__
from ..cloud import schedules
from ..compile.plan import Plan
from ..contract.check import Check, Doubt, check
from ..errors import UserError, did_you_mean, not_filled_in
from ..project import Project
from ..seal import problems
from .data import changed, sources
from .datasets import Datasets
from .known import GPU_TYPES, MOST_CPU, MOST_MEMORY, REGIONS
from .lock import lock, versions

_IMAGE = re.compile(r"[a-z0-9]+([._:/-]+[a-zA-Z0-9_]+)*(@sha256:[0-9a-f]{64})?")


def offline(project: Project, plan: Callable[[], Plan], compile_: Callable[[], Any]) -> Iterator[Check]:
    """Run the checks that need no network.

    Args:
        project: the project in its environment.
        plan: plans the pipeline to be launched.
        compile_: compiles it.
    """
    yield check("platform", lambda: _platform(project))
    configured = check("configuration", lambda: _configuration(project), needed_to_ask=True)
    yield configured
    if not configured.ok:
        return
    left = project.placeholders("mlflow", "vertexai")
    yield from (Check("filled in", False, not_filled_in([place]), needed_to_ask=True) for place in left)
    if not left:
        yield Check("filled in", True, "no <placeholder> is left")
        yield check("region", lambda: _region(project), needed_to_ask=True)
        yield check("image", lambda: _image(project))
    planned = check("pipeline", lambda: f"'{plan().pipeline}' becomes {len(plan().steps)} steps")
    yield planned
    if not planned.ok:
        return
    yield check("compiles", lambda: f"to {len(compile_()['deploymentSpec']['executors'])} tasks")
    if project.settings.run_config.experiment_name:
        yield check("experiment", lambda: _experiment(project, compile_()["pipelineInfo"]["name"]))
    datasets = Datasets(project, plan())
    yield check("datasets", datasets.check)
    yield check("data", lambda: _data(project, plan()))
    yield check("resources", lambda: _resources(plan()))
    yield check("schedules", lambda: _schedules(project))
    yield check("lock", lambda: lock(project, datasets.classes))
    yield check("versions", lambda: versions(project))


def _platform(project: Project) -> str:
    if sentences := problems(project.path):
        raise Doubt(" ".join(sentences))
    return f"vertexai_mlflow {__version__}, as the template made it"


def _configuration(project: Project) -> str:
    _ = project.settings
    if doubts := [*project.warnings, *project.left_behind]:
        raise Doubt(" ".join(doubts))
    project.refuse_file_store()
    return f"{project.settings_file} can be read"


def _region(project: Project) -> str:
    settings = project.settings
    if not settings.project_id and not settings.region:
        return "this environment launches nothing on Vertex AI: it has no project_id and no region"
    to = project.target
    if to.region not in REGIONS and not settings.api_endpoint:
        hint = did_you_mean(to.region, REGIONS).partition(" Known:")[0]
        raise Doubt(f"{project.settings_file}: region: {to.region} is not a region that this project knows.{hint}")
    return f"{to.region}, project {to.project_id}"


def _experiment(project: Project, pipeline: str) -> str:
    name = project.settings.run_config.experiment_name
    if name == pipeline:
        raise UserError(
            f"{project.settings_file}: run_config.experiment_name: {name} is also the name of the compiled pipeline, "
            "and Vertex AI keeps both in one place. Choose another name."
        )
    return f"{name}, apart from pipeline {pipeline}"


def _data(project: Project, plan: Plan) -> str:
    """Where the steps get the files from that they only read, and whether what they write is kept."""
    known, doubtful, missing = sources(project, plan)
    found = "; ".join(known) or "no raw data"
    if missing:
        raise UserError(f"{missing} ({found})" if known else missing)
    said = set(project.warnings)  # by the line about the configuration
    if doubts := [*(doubt for doubt in plan.warnings if doubt not in said), *doubtful, *changed(project, plan)]:
        raise Doubt(" ".join(doubts) + f" ({found})" * bool(known))
    return found


def _resources(plan: Plan) -> str:
    most_cpu = max((step.resources.cores for step in plan.steps), default=Decimal(0))
    most_memory = max((step.resources.bytes for step in plan.steps), default=Decimal(0))
    doubts = []
    for step in plan.steps:
        asked, where = step.resources, f"run_config.resources: step '{step.name}' asks for"
        if asked.cores > MOST_CPU or asked.bytes > MOST_MEMORY:
            doubts.append(
                f"{where} cpu {asked.cpu}, memory {asked.memory}; the largest machine that this project knows has "
                f"{MOST_CPU} CPUs and {MOST_MEMORY // 10**9}G."
            )
        if asked.gpu and asked.gpu_type not in GPU_TYPES:
            hint = did_you_mean(asked.gpu_type or "", GPU_TYPES)
            if not asked.gpu_type:
                raise UserError(f"{where} {asked.gpu} GPU and names no gpu_type.{hint}")
            doubts.append(f"{where} GPU type {asked.gpu_type}, which this project does not know.{hint}")
    if doubts:
        raise Doubt(" ".join(doubts))
    if not most_cpu:
        return "Vertex AI's default"
    return f"at most {most_cpu} CPUs and {most_memory / 10**9:.1f} GB for a step"


def _schedules(project: Project) -> str:
    entries = project.settings.run_config.schedules
    for name, entry in entries.items():
        schedules.validate(entry, f"{project.settings_file}: run_config.schedules.{name}")
    for name in schedules.scheduled_pipelines(entries):
        project.pipeline(name)
    if ended := schedules.ended(entries, project.settings_file):
        raise Doubt(" ".join(ended.values()))
    runs = {name: f"{schedules.next_run(entry):%Y-%m-%d %H:%M %Z}" for name, entry in entries.items()}
    return ", ".join(f"{name}: next run {moment}" for name, moment in runs.items()) or "none"


def _image(project: Project) -> str:
    image = project.settings.run_config.image
    if not _IMAGE.fullmatch(image):
        raise UserError(f"{project.settings_file}: run_config.image: {image} is not a valid name for an image.")
    if not (project.path / "Dockerfile").is_file():
        raise UserError(f"There is no Dockerfile to build {image} from: kedro docker init")
    return image
