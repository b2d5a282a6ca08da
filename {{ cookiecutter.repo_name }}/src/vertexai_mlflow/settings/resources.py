"""What a step asks of its machine: the one place that says a resource's key, its values, and how a group shares it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Quantities as KFP takes them: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_CPU = r"^[0-9]+(\.[0-9]+)?$|^[0-9]+m$"
_MEMORY = r"^[0-9]+([EPTGMK]i?)?$"
_POWERS = "KMGTPE"
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600}


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


@dataclass(frozen=True)
class Shared:
    """How the nodes of a group share a resource.

    Args:
        how: ``most``: the group gets what the node asks for that asks for most. ``sum``: what all its nodes ask for,
            if every one of them does. ``same``: its nodes have to agree.
        key: compares two values, for ``most``.
    """

    how: Literal["most", "sum", "same"]
    key: Callable[[Any], Any] | None = None


class Resources(Strict):
    """What a step asks of its machine; what is left out comes from a less specific entry.

    Everything about a resource is said here: its key, its values, and how the nodes of a group share it.
    """

    cpu: Annotated[str | None, Shared("most", vcpus)] = Field(
        default=None, pattern=_CPU, coerce_numbers_to_str=True, description="vCPUs, as Kubernetes writes them: 2, 500m"
    )
    memory: Annotated[str | None, Shared("most", bytes_)] = Field(
        default=None, pattern=_MEMORY, coerce_numbers_to_str=True, description="as Kubernetes writes it: 4Gi, 512M"
    )
    gpu: Annotated[int | None, Shared("most")] = Field(
        default=None, ge=0, description="how many GPUs; 1 if only their type is given"
    )
    gpu_type: Annotated[str | None, Shared("same")] = Field(
        default=None, description="Vertex AI's name for them: NVIDIA_L4"
    )
    retries: Annotated[int | None, Shared("most")] = Field(
        default=None, ge=0, le=10, description="how often a failed step is tried again"
    )
    timeout: Annotated[int | None, BeforeValidator(_seconds), Shared("sum")] = Field(
        default=None, description="when a step is stopped: 90s, 30m, 2h"
    )
    image: Annotated[str | None, Shared("same")] = Field(
        default=None, description="another container image for these steps"
    )

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
