"""What a step asks of its machine. Everything about a resource is here: its key, its values, how nodes share it."""

import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from math import ceil
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import masked

# Quantities as KFP takes them: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_CPU = r"^[0-9]+(\.[0-9]+)?$|^[0-9]+m$"
_MEMORY = r"^[0-9]+([EPTGMK]i?)?$"
_POWERS = "KMGTPE"
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}
_VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
_LOOKS_SECRET = re.compile(r"secret|passw|token|credential|private|api_?key", re.IGNORECASE)
# Variables by which the platform talks to its own steps.
_OWN_PREFIX = "VERTEXAI_"


class Strict(BaseModel):
    """Base of all settings: an unknown key is an error, and nothing changes a setting later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def vcpus(quantity: str) -> Decimal:
    """A number of vCPUs: ``500m`` → 0.5"""
    return Decimal(quantity[:-1]) / 1000 if quantity.endswith("m") else Decimal(quantity)


def bytes_(quantity: str) -> Decimal:
    """A size of memory in bytes: ``4Gi`` → 4294967296"""
    number = quantity.rstrip("i" + _POWERS)
    unit = quantity[len(number) :]
    base = 1024 if unit.endswith("i") else 1000
    return Decimal(number) * (base ** (_POWERS.index(unit[0]) + 1) if unit else 1)


def _seconds(duration: Any) -> Any:
    """``90m`` → 5400"""
    match = re.fullmatch(r"([1-9]\d*)([smh]?)", str(duration))
    if not match:
        raise ValueError("a duration is a number of seconds, or a number with its unit: 90s, 30m, 2h")
    return int(match[1]) * _SECONDS[match[2]]


def _refuse_secrets(variables: dict[str, str]) -> dict[str, str]:
    """Refuse what everybody could read who may see the job."""
    for name, value in variables.items():
        if name.startswith(_OWN_PREFIX):
            raise ValueError(f"{name}: variables that begin with {_OWN_PREFIX} are the platform's own.")
        if _LOOKS_SECRET.search(name) or masked(value) != value:
            raise ValueError(
                f"{name} looks like a secret, and whoever may see the job could read it. Let the step itself fetch it: "
                "docs/how-to/credentials-from-google.md"
            )
    return variables


Duration = Annotated[int | None, BeforeValidator(_seconds)]
Variables = Annotated[
    dict[Annotated[str, Field(pattern=_VARIABLE)], Annotated[str, Field(coerce_numbers_to_str=True)]],
    AfterValidator(_refuse_secrets),
]


class BootDisk(Strict):
    """``resources.*.boot_disk``"""

    type: str = Field(default="pd-ssd", description="pd-ssd, pd-standard or hyperdisk-balanced")
    size: int = Field(default=100, ge=10, description="in GB")


class Resources(Strict):
    """What a step asks of its machine; what is left out comes from a less specific entry.

    A new field also needs an entry in ``SHARING``.
    """

    cpu: str | None = Field(
        default=None, pattern=_CPU, coerce_numbers_to_str=True, description="vCPUs, as Kubernetes writes them: 2, 500m"
    )
    memory: str | None = Field(
        default=None, pattern=_MEMORY, coerce_numbers_to_str=True, description="as Kubernetes writes it: 4Gi, 512M"
    )
    gpu: int | None = Field(default=None, ge=0, description="how many GPUs; 1 if only their type is given")
    gpu_type: str | None = Field(default=None, description="Vertex AI's name for them: NVIDIA_L4")
    retries: int | None = Field(default=None, ge=0, le=10, description="how often a failed step is tried again")
    timeout: Duration = Field(default=None, description="when a step is stopped: 90s, 30m, 2h")
    image: str | None = Field(default=None, description="another container image for these steps")
    env: Variables | None = Field(default=None, description="environment variables, besides those of run_config.env")
    machine_type: str | None = Field(
        default=None, pattern=r"^[a-z0-9]+-[a-z0-9-]+$", description="a machine type of Vertex AI: g2-standard-8"
    )
    spot: bool | None = Field(default=None, description="whether it is a spot machine, which Google may take away")
    max_wait: Duration = Field(default=None, description="how long the step waits for its machine: 90s, 30m, 2h")
    boot_disk: BootDisk | None = Field(default=None, description="the disk of the machine")
    custom_job: dict[str, Any] | None = Field(
        default=None, description="fields of Google's CustomJob that have no key here, in the REST API's spelling"
    )

    @property
    def is_custom_job(self) -> bool:
        """Whether the step asks for what only a Vertex AI custom job can have."""
        return bool(self.machine_type or self.spot or self.max_wait or self.boot_disk or self.custom_job)

    @property
    def cores(self) -> Decimal:
        """vCPUs; 0 if nothing is asked for."""
        return vcpus(self.cpu or "0")

    @property
    def memory_limit(self) -> str:
        """Memory in the units that Vertex AI documents, M and G; any other unit is rounded up to G."""
        memory = self.memory or ""
        return memory if memory.endswith(("M", "G")) else f"{ceil(self.bytes / 10**9)}G"

    @property
    def bytes(self) -> Decimal:
        """Memory in bytes; 0 if nothing is asked for."""
        return bytes_(self.memory or "0")


def _largest(values: list[Any], measure: Callable[[Any], Any] | None = None) -> Any:
    """The largest value that a node asks for; None if none asks for anything."""
    return max((value for value in values if value is not None), key=measure, default=None)


def _total(values: list[Any]) -> Any:
    """The sum, if every node asks for something."""
    return sum(values) if values and None not in values else None


def _same(values: list[Any]) -> Any:
    """The value on which all nodes have to agree.

    Raises:
        ValueError: with the different values.
    """
    if any(value != values[0] for value in values):
        raise ValueError(", ".join(sorted({str(value) for value in values})))
    return values[0] if values else None


def _same_if_any(values: list[Any]) -> Any:
    """The value on which those nodes have to agree that ask for something."""
    return _same([value for value in values if value is not None])


def _spot(values: list[Any]) -> Any:
    """Whether no node needs a machine that stays."""
    return all(values) if any(value is not None for value in values) else None


def _variables(values: list[Any]) -> Any:
    """The variables of all nodes. Two of them must not want another value of one."""
    names = {name for variables in values if variables for name in variables}
    return {
        name: _same_if_any([variables.get(name) for variables in values if variables]) for name in sorted(names)
    } or None


# Field → how the nodes of one step share it: what the step gets, by what each of its nodes asks for.
SHARING: dict[str, Callable[[list[Any]], Any]] = {
    "cpu": partial(_largest, measure=vcpus),
    "memory": partial(_largest, measure=bytes_),
    "gpu": _largest,
    "gpu_type": _same_if_any,
    "retries": _largest,
    "timeout": _total,
    "image": _same,
    "env": _variables,
    "machine_type": _same_if_any,
    "spot": _spot,
    "max_wait": _largest,
    "boot_disk": _same_if_any,
    "custom_job": _same_if_any,
}
