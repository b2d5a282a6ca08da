"""What can be found out before anything is launched, on this machine: a checklist.

A check is a function that says what it found, or raises a sentence with the cure.
"""

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from . import schedules
from .errors import UserError, did_you_mean
from .plan import Plan
from .project import Project
from .request import target

# google.cloud.aiplatform.constants.base.SUPPORTED_REGIONS of google-cloud-aiplatform 2.7; a test compares. The package
# itself takes seconds to import.
REGIONS = {
    "africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2", "asia-northeast3",
    "asia-south1", "asia-south2", "asia-southeast1", "asia-southeast2", "australia-southeast1", "australia-southeast2",
    "europe-central2", "europe-north1", "europe-north2", "europe-southwest1", "europe-west1", "europe-west2",
    "europe-west3", "europe-west4", "europe-west6", "europe-west8", "europe-west9", "europe-west12",
    "me-central1", "me-central2", "me-west1", "northamerica-northeast1", "northamerica-northeast2",
    "southamerica-east1", "southamerica-west1", "us-central1", "us-east1", "us-east4", "us-east5", "us-east7",
    "us-south1", "us-west1", "us-west2", "us-west3", "us-west4", "us-west8",
}  # fmt: skip
# The largest machine of a step: https://cloud.google.com/vertex-ai/docs/pipelines/machine-types
_MOST_CPU, _MOST_MEMORY = 96, 624 * 10**9
_POWERS = "KMGTPE"
_IMAGE = re.compile(r"[a-z0-9]+([._:/-]+[a-zA-Z0-9_]+)*(@sha256:[0-9a-f]{64})?")


@dataclass(frozen=True)
class Check:
    """One line of the checklist.

    Args:
        name: what was looked at.
        ok: whether it is well.
        said: what was found, with the cure if it is not well.
    """

    name: str
    ok: bool
    said: str


def check(name: str, look: Callable[[], str]) -> Check:
    """Run a check."""
    try:
        return Check(name, True, look())
    except UserError as error:
        return Check(name, False, str(error))


def offline(project: Project, pipeline: str, compile_: Callable[[], Any]) -> Iterator[Check]:
    """The checks that need no network.

    Args:
        project: the project in its environment.
        pipeline: name of the pipeline to be launched.
        compile_: compiles it.
    """
    configured = check("configuration", lambda: _configuration(project))
    yield configured
    if not configured.ok:
        return
    left = project.placeholders("mlflow", "vertexai")
    yield from (Check("filled in", False, f"{item} is still to be filled in.") for item in left)
    if not left:
        yield Check("filled in", True, "no <placeholder> is left")
        yield check("region", lambda: _region(project))
        yield check("image", lambda: _image(project))
    yield check("pipeline", lambda: f"'{pipeline}' becomes {len(project.plan(pipeline).steps)} steps")
    yield check("compiles", lambda: f"to {len(compile_()['deploymentSpec']['executors'])} tasks")
    yield check("resources", lambda: _resources(project.plan(pipeline)))
    yield check("schedules", lambda: _schedules(project))
    yield check("versions", lambda: _versions(project))


def _configuration(project: Project) -> str:
    _ = project.settings
    return f"{project.settings_file} can be read"


def _region(project: Project) -> str:
    settings = project.settings
    if not settings.project_id and not settings.region:
        return "this environment launches nothing on Vertex AI: it has no project_id and no region"
    to = target(settings, project.settings_file)
    if to.region not in REGIONS and not settings.api_endpoint:
        raise UserError(
            f"{project.settings_file}: region: Vertex AI has no {to.region}.{did_you_mean(to.region, REGIONS)} "
            "If it is new, add it to REGIONS in vertexai/doctor.py."
        )
    return f"{to.region}, project {to.project_id}"


def _resources(plan: Plan) -> str:
    most_cpu, most_memory = Decimal(0), Decimal(0)
    for step in plan.steps:
        cpu, memory = _cores(step.resources.cpu or "0"), _bytes(step.resources.memory or "0")
        if cpu > _MOST_CPU or memory > _MOST_MEMORY:
            asked = f"cpu {step.resources.cpu}, memory {step.resources.memory}"
            raise UserError(
                f"run_config.resources: step '{step.name}' asks for {asked}; Vertex AI gives a step at most "
                f"{_MOST_CPU} CPUs and {_MOST_MEMORY // 10**9}G."
            )
        most_cpu, most_memory = max(most_cpu, cpu), max(most_memory, memory)
    return f"at most {most_cpu} CPUs and {most_memory / 10**9:.1f} GB for a step" if most_cpu else "Vertex AI's default"


def _cores(quantity: str) -> Decimal:
    return Decimal(quantity[:-1]) / 1000 if quantity.endswith("m") else Decimal(quantity)


def _bytes(quantity: str) -> Decimal:
    """``4Gi`` → 4294967296"""
    number = quantity.rstrip("i" + _POWERS)
    unit = quantity[len(number) :]
    base = 1024 if unit.endswith("i") else 1000
    return Decimal(number) * (base ** (_POWERS.index(unit[0]) + 1) if unit else 1)


def _schedules(project: Project) -> str:
    entries = project.settings.run_config.schedules
    for name, entry in entries.items():
        schedules.validate(entry, f"{project.settings_file}: run_config.schedules.{name}")
    for name in schedules.scheduled_pipelines(entries):
        project.pipeline(name)
    runs = {name: f"{schedules.next_run(entry):%Y-%m-%d %H:%M %Z}" for name, entry in entries.items()}
    return ", ".join(f"{name}: next run {moment}" for name, moment in runs.items()) or "none"


def _image(project: Project) -> str:
    image = project.settings.run_config.image
    if not _IMAGE.fullmatch(image):
        raise UserError(f"{project.settings_file}: run_config.image: {image} is not the name of an image.")
    if not (project.path / "Dockerfile").is_file():
        raise UserError(f"There is no Dockerfile to build {image} from: kedro docker init")
    return image


def _versions(project: Project) -> str:
    """Whether what is installed is what pyproject.toml asks for."""
    declared = tomllib.loads((project.path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = ".".join(map(str, sys.version_info[:3]))
    wrong = [] if python in SpecifierSet(declared.get("requires-python", "")) else [f"Python {python}"]
    extras = declared.get("optional-dependencies", {}).get("launch", [])
    for line in [*declared.get("dependencies", []), *extras]:
        requirement = Requirement(line)
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            installed = ""
        if not installed or not requirement.specifier.contains(installed, prereleases=True):
            wrong.append(f"{requirement.name} {installed or 'missing'} ({requirement.specifier})")
    if wrong:
        raise UserError(f"Not what pyproject.toml asks for: {', '.join(wrong)}. pip install -e '.[launch]'")
    return f"Python {python}, " + ", ".join(f"{name} {version(name)}" for name in ("kedro", "mlflow", "kfp"))
