"""Machine types of Vertex AI's custom jobs and the GPUs that go with them. Google adds to them all the time.

So what is not in these tables is only a warning. https://docs.cloud.google.com/vertex-ai/docs/training/configure-compute
"""

import re
from dataclasses import dataclass

from ..settings.resources import Resources


@dataclass(frozen=True)
class GpuMachine:
    """A machine type that always has GPUs."""

    gpu_type: str
    gpus: int
    cpus: int


GPU_MACHINES = {
    "a2-highgpu-1g": GpuMachine("NVIDIA_TESLA_A100", 1, 12),
    "a2-highgpu-2g": GpuMachine("NVIDIA_TESLA_A100", 2, 24),
    "a2-highgpu-4g": GpuMachine("NVIDIA_TESLA_A100", 4, 48),
    "a2-highgpu-8g": GpuMachine("NVIDIA_TESLA_A100", 8, 96),
    "a2-megagpu-16g": GpuMachine("NVIDIA_TESLA_A100", 16, 96),
    "a2-ultragpu-1g": GpuMachine("NVIDIA_A100_80GB", 1, 12),
    "a2-ultragpu-2g": GpuMachine("NVIDIA_A100_80GB", 2, 24),
    "a2-ultragpu-4g": GpuMachine("NVIDIA_A100_80GB", 4, 48),
    "a2-ultragpu-8g": GpuMachine("NVIDIA_A100_80GB", 8, 96),
    "a3-highgpu-1g": GpuMachine("NVIDIA_H100_80GB", 1, 26),
    "a3-highgpu-2g": GpuMachine("NVIDIA_H100_80GB", 2, 52),
    "a3-highgpu-4g": GpuMachine("NVIDIA_H100_80GB", 4, 104),
    "a3-highgpu-8g": GpuMachine("NVIDIA_H100_80GB", 8, 208),
    "a3-edgegpu-8g": GpuMachine("NVIDIA_H100_80GB", 8, 208),
    "a3-megagpu-8g": GpuMachine("NVIDIA_H100_MEGA_80GB", 8, 208),
    "a3-ultragpu-8g": GpuMachine("NVIDIA_H200_141GB", 8, 224),
    "a4-highgpu-8g": GpuMachine("NVIDIA_B200", 8, 224),
    "a4x-highgpu-4g": GpuMachine("NVIDIA_GB200", 4, 140),
    "g2-standard-4": GpuMachine("NVIDIA_L4", 1, 4),
    "g2-standard-8": GpuMachine("NVIDIA_L4", 1, 8),
    "g2-standard-12": GpuMachine("NVIDIA_L4", 1, 12),
    "g2-standard-16": GpuMachine("NVIDIA_L4", 1, 16),
    "g2-standard-24": GpuMachine("NVIDIA_L4", 2, 24),
    "g2-standard-32": GpuMachine("NVIDIA_L4", 1, 32),
    "g2-standard-48": GpuMachine("NVIDIA_L4", 4, 48),
    "g2-standard-96": GpuMachine("NVIDIA_L4", 8, 96),
    "g4-standard-48": GpuMachine("NVIDIA_RTX_PRO_6000", 1, 48),
    "g4-standard-96": GpuMachine("NVIDIA_RTX_PRO_6000", 2, 96),
    "g4-standard-192": GpuMachine("NVIDIA_RTX_PRO_6000", 4, 192),
    "g4-standard-384": GpuMachine("NVIDIA_RTX_PRO_6000", 8, 384),
}
# The GPUs that can be attached to machines of the family n1, and how many of them.
N1_GPUS = {
    "NVIDIA_TESLA_K80": (1, 2, 4, 8),
    "NVIDIA_TESLA_P4": (1, 2, 4),
    "NVIDIA_TESLA_P100": (1, 2, 4),
    "NVIDIA_TESLA_T4": (1, 2, 4),
    "NVIDIA_TESLA_V100": (1, 2, 4, 8),
}
# Families without GPUs.
CPU_FAMILIES = {"e2", "n2", "n2d", "n4", "c2", "c2d", "c3", "c3d", "c4", "c4a", "t2d", "m1", "m2", "m3"}
GPU_FAMILIES = {name.partition("-")[0] for name in GPU_MACHINES}
DISK_TYPES = {"pd-ssd", "pd-standard", "hyperdisk-balanced"}
# Vertex AI's default machine for a step. https://cloud.google.com/vertex-ai/docs/pipelines/machine-types
DEFAULT = "e2-standard-4"
# e2-standard machines have 4 GB of memory for each of these CPUs.
_E2_CPUS = (4, 8, 16, 32)


def machine_for(resources: Resources) -> str:
    """The machine type of a step: the one that it asks for, or the smallest e2-standard with its CPUs and memory.

    Empty if no e2-standard is large enough.
    """
    if resources.machine_type:
        return resources.machine_type
    fitting = (cpus for cpus in _E2_CPUS if cpus >= resources.cores and cpus * 4 * 10**9 >= resources.bytes)
    cpus = next(fitting, 0)
    return f"e2-standard-{cpus}" if cpus else ""


def cpus_of(machine: str) -> int:
    """How many CPUs a machine type has; 0 if its name does not tell."""
    if machine in GPU_MACHINES:
        return GPU_MACHINES[machine].cpus
    match = re.search(r"-(\d+)$", machine)
    return int(match[1]) if match else 0


def gpus_for(resources: Resources) -> tuple[str, int]:
    """Type and number of the GPUs of a custom job; none is an empty type."""
    gpu_machine = GPU_MACHINES.get(resources.machine_type or "")
    if gpu_machine:
        return gpu_machine.gpu_type, gpu_machine.gpus
    count = 1 if resources.gpu is None else resources.gpu
    return (resources.gpu_type, count) if resources.gpu_type and count else ("", 0)


def find_misfit(resources: Resources) -> str:
    """What Vertex AI would refuse about a custom job's machine and GPUs, as the end of a sentence; empty if nothing."""
    machine, gpu_type, gpus = resources.machine_type or "", resources.gpu_type or "", resources.gpu
    family, gpu_machine = machine.partition("-")[0], GPU_MACHINES.get(machine)
    asked = f"{1 if gpus is None else gpus} × {gpu_type or 'GPU'}"
    if gpu_machine:
        wanted = (gpu_type or gpu_machine.gpu_type, gpu_machine.gpus if gpus is None else gpus)
        misfit = f"{asked}, but {machine} has {gpu_machine.gpus} × {gpu_machine.gpu_type}."
        return f"{misfit} {_suggest(gpu_type)}".rstrip() if wanted != (gpu_machine.gpu_type, gpu_machine.gpus) else ""
    if gpus and not gpu_type:
        return f"{gpus} GPU without a gpu_type"
    if not gpu_type or gpus == 0:
        return ""
    if not machine:
        return f"{gpu_type} without a machine_type. {_suggest(gpu_type)}".rstrip()
    is_known = gpu_type in N1_GPUS or gpu_type in _GPUS_OF_MACHINES
    has_others = family in GPU_FAMILIES and gpu_type in N1_GPUS
    if family in CPU_FAMILIES or has_others or (family == "n1" and is_known and gpu_type not in N1_GPUS):
        return f"{gpu_type}, which {machine} cannot have. {_suggest(gpu_type)}".rstrip()
    if family == "n1" and gpu_type in N1_GPUS and (gpus or 1) not in N1_GPUS[gpu_type]:
        return f"{asked}, but there may be {', '.join(map(str, N1_GPUS[gpu_type]))} of them"
    return ""


def find_unknown(resources: Resources) -> str:
    """What these tables do not have, as the end of a sentence; empty if they have all of it."""
    machine = resources.machine_type or ""
    family = machine.partition("-")[0]
    unknown = []
    if machine and machine not in GPU_MACHINES and family not in CPU_FAMILIES | {"n1"}:
        unknown.append(f"machine_type {machine}")
    if resources.boot_disk and resources.boot_disk.type not in DISK_TYPES:
        unknown.append(f"boot_disk.type {resources.boot_disk.type}")
    return " and ".join(unknown)


def needs_own_machine(gpu_type: str) -> str:
    """The machine types that alone have a GPU type, as a suggestion; empty if it can be attached to others."""
    return _suggest(gpu_type) if gpu_type in _GPUS_OF_MACHINES else ""


_GPUS_OF_MACHINES = {machine.gpu_type for machine in GPU_MACHINES.values()}


def _suggest(gpu_type: str) -> str:
    machines = [name for name, machine in GPU_MACHINES.items() if machine.gpu_type == gpu_type]
    if gpu_type in N1_GPUS:
        machines = ["n1-standard-8"]
    return (
        f"Use machine_type: {machines[0]}" + (f" … {machines[-1]}." if len(machines) > 1 else ".") if machines else ""
    )
