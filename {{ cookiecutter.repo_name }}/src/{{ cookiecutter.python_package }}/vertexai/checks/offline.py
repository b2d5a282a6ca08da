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
from packaging.utils import canonicalize_name

from . import schedules
from .errors import UserError, did_you_mean
from .plan import Plan
from .project import Project
from .request import target
from .resources import bytes_, cores

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
# google.cloud.aiplatform_v1.AcceleratorType, likewise.
GPU_TYPES = {
    "NVIDIA_TESLA_K80", "NVIDIA_TESLA_P100", "NVIDIA_TESLA_V100", "NVIDIA_TESLA_P4", "NVIDIA_TESLA_T4",
    "NVIDIA_TESLA_A100", "NVIDIA_A100_80GB", "NVIDIA_L4", "NVIDIA_H100_80GB", "NVIDIA_H100_MEGA_80GB",
    "NVIDIA_H200_141GB", "NVIDIA_B200", "NVIDIA_GB200", "NVIDIA_RTX_PRO_6000",
    "TPU_V2", "TPU_V3", "TPU_V4_POD", "TPU_V5_LITEPOD",
}  # fmt: skip
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


def offline(project: Project, plan: Callable[[], Plan], compile_: Callable[[], Any]) -> Iterator[Check]:
    """The checks that need no network.

    Args:
        project: the project in its environment.
        plan: plans the pipeline to be launched.
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
    planned = check("pipeline", lambda: f"'{plan().pipeline}' becomes {len(plan().steps)} steps")
    yield planned
    if not planned.ok:
        return
    yield check("compiles", lambda: f"to {len(compile_()['deploymentSpec']['executors'])} tasks")
    yield check("data", lambda: _data(project, plan()))
    yield check("resources", lambda: _resources(plan()))
    yield check("schedules", lambda: _schedules(project))
    yield check("lock", lambda: _lock(project))
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


def _data(project: Project, plan: Plan) -> str:
    """Whether the files that steps read are there, and what they write is kept."""
    missing = [file for file in plan.read_from_image if not (project.path / file).exists()]
    if missing:
        raise UserError(f"Not in this folder, so not in the image either: {', '.join(missing)}.")
    if plan.warnings:
        return " ".join(("Warning:", *plan.warnings))
    return f"in the image must be: {', '.join(plan.read_from_image) or 'no data'}"


def _resources(plan: Plan) -> str:
    most_cpu, most_memory = Decimal(0), Decimal(0)
    for step in plan.steps:
        asked = step.resources
        cpu, memory = cores(asked.cpu or "0"), bytes_(asked.memory or "0")
        if cpu > _MOST_CPU or memory > _MOST_MEMORY:
            raise UserError(
                f"run_config.resources: step '{step.name}' asks for cpu {asked.cpu}, memory {asked.memory}; Vertex AI "
                f"gives a step at most {_MOST_CPU} CPUs and {_MOST_MEMORY // 10**9}G."
            )
        if asked.gpu and asked.gpu_type not in GPU_TYPES:
            hint = did_you_mean(asked.gpu_type or "", GPU_TYPES)
            raise UserError(
                f"run_config.resources: step '{step.name}' asks for {asked.gpu} GPU of type {asked.gpu_type}.{hint}"
            )
        most_cpu, most_memory = max(most_cpu, cpu), max(most_memory, memory)
    return f"at most {most_cpu} CPUs and {most_memory / 10**9:.1f} GB for a step" if most_cpu else "Vertex AI's default"


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


def _lock(project: Project) -> str:
    """Whether the image, which is built from the lock, will have what pyproject.toml asks for."""
    file = project.path / "requirements.lock"
    if not file.is_file():
        raise UserError("There is no requirements.lock to build the image from: make lock")
    pinned: dict[str, list[str]] = {}
    for name, pin in re.findall(r"^([\w.-]+)==([^\s;\\]+)", file.read_text(encoding="utf-8"), re.MULTILINE):
        pinned.setdefault(canonicalize_name(name), []).append(pin)
    missing = [
        line
        for line in _declared(project)["dependencies"]
        if not any(Requirement(line).specifier.contains(pin) for pin in pinned.get(_name(line), []))
    ]
    if missing:
        raise UserError(f"requirements.lock lacks what pyproject.toml asks for: {', '.join(missing)}. make lock")
    return f"{len(pinned)} packages for the image"


def _declared(project: Project) -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    return tomllib.loads((project.path / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _versions(project: Project) -> str:
    """Whether what is installed is what pyproject.toml asks for."""
    declared = _declared(project)
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
