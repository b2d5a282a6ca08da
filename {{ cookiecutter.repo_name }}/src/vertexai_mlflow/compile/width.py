"""Steps → how many of them may run side by side, and how many CPUs of Vertex AI's quota that takes."""

from collections.abc import Sequence
from math import ceil

from .datasets import Step
from .machines import cpus_of, machine_for

# Vertex AI's default machine for a step, e2-standard-4, has as many CPUs, and there is no smaller one.
# https://cloud.google.com/vertex-ai/docs/pipelines/machine-types
_MACHINE_CPUS = 4
# The quota custom_model_training_cpus of a new project, in each region.
_NEW_PROJECT_CPUS = 20


def describe_width(steps: Sequence[Step]) -> str:
    """``up to 3 steps side by side, which takes 12 CPUs of the quota``"""
    number, total = count_side_by_side(steps), count_cpus(steps)
    hint = f" (a new project has {_NEW_PROJECT_CPUS} or 42)" if total > _NEW_PROJECT_CPUS else ""
    steps_at_once = (
        f"up to {number} steps side by side, which takes" if number > 1 else "one step at a time, which takes"
    )
    return f"{steps_at_once} {total} CPUs of the quota{hint}"


def count_cpus(steps: Sequence[Step]) -> int:
    """The most CPUs of the quota that steps may take side by side."""
    # Which of the steps they are is not known here, so these are the largest ones.
    return sum(sorted(map(_cpus, steps), reverse=True)[: count_side_by_side(steps)])


def count_one_after_the_other(steps: Sequence[Step]) -> int:
    """How many steps the longest chain has in which each waits for the one before."""
    length: dict[str, int] = {}
    for step in steps:
        length[step.name] = 1 + max((length[before] for before in step.after), default=0)
    return max(length.values(), default=0)


def _cpus(step: Step) -> int:
    """How many CPUs of the quota a step takes; those of a spot machine count for another one."""
    resources = step.resources
    if not resources.is_custom_job:
        return max(_MACHINE_CPUS, ceil(resources.cores))
    return 0 if resources.spot else cpus_of(machine_for(resources))


def count_side_by_side(steps: Sequence[Step]) -> int:
    """The largest number of steps of which none needs another one.

    It is the smallest number of chains into which the steps can be sorted (Dilworth's theorem). Steps are joined to
    chains as long as that is possible, by augmenting paths.

    Args:
        steps: in the order in which they could run one after the other.
    """
    earlier: dict[str, dict[str, None]] = {}  # step → all that must have ended before, the direct ones first
    for step in steps:
        indirect = [name for before in step.after for name in earlier[before]]
        earlier[step.name] = dict.fromkeys([*step.after, *indirect])
    next_in_chain: dict[str, str] = {}

    def join(name: str, tried: set[str]) -> bool:
        for before in earlier[name]:
            if before not in tried:
                tried.add(before)
                if before not in next_in_chain or join(next_in_chain[before], tried):
                    next_in_chain[before] = name
                    return True
        return False

    return len(steps) - sum(join(step.name, set()) for step in steps)
