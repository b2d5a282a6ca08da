"""Runtime parameters that would change nothing are refused, so that a typo does not cost a run."""

from collections.abc import Mapping
from typing import Any

from ...errors import UserError, did_you_mean
from ..contract import leaves


def check_known(
    params: Mapping[str, Any],
    declared: Mapping[str, Any],
    consumed: set[str],
    referenced: set[str],
    pipeline: str,
) -> None:
    """Refuse a parameter that reaches neither a node nor a configuration file.

    Args:
        params: what the user passed, nested.
        declared: the parameters of ``parameters*.yml``, nested.
        consumed: dotted names of the parameters that nodes take; ``""`` stands for all of them.
        referenced: names that configuration files take by ``${runtime_params:…}``.
        pipeline: its name, for the message.

    Raises:
        UserError: naming the parameter and the nearest one that is used.
    """
    stated = dict(leaves(declared))
    names = {
        ".".join(parts[:end]) for parts in (name.split(".") for name in stated) for end in range(1, len(parts) + 1)
    }
    known = {name for name in names if _reaches_a_node(name, consumed)} | consumed - {""} | referenced
    open_ended = {name for name, value in stated.items() if value == {}}
    for name, value in leaves(params):
        if name not in known and name.rpartition(".")[0] not in open_ended:
            raise UserError(
                f"--params {name}={value}: no node of pipeline '{pipeline}' uses parameter '{name}'."
                + did_you_mean(name, known)
            )


def _reaches_a_node(name: str, consumed: set[str]) -> bool:
    """Whether a node takes the parameter, a part of it, or something it is a part of."""
    return any(
        taken in ("", name) or name.startswith(f"{taken}.") or taken.startswith(f"{name}.") for taken in consumed
    )
