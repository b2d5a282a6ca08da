"""Parameters that Kedro makes objects of, because a node's type hint names a pydantic model or a dataclass."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kedro.pipeline import Pipeline
from kedro.validation import ParameterValidationError, ParameterValidator, TypeExtractor

from ..errors import UserError

# Kedro logs what it then raises, and what it thinks of a type hint each time it reads it.
_LOGGERS = [logging.getLogger(f"kedro.validation.{name}") for name in ("parameter_validator", "type_extractor")]
# What pydantic quotes of a value that it does not accept.
_INPUT = re.compile(r", input_value=.*(?=, input_type=)")


def types_of(pipelines: Mapping[str, Pipeline]) -> dict[str, type]:
    """Parameter, with dots → the class that Kedro makes of it when it runs these pipelines."""
    with _quiet():
        return TypeExtractor(dict(pipelines)).extract_types_from_pipelines()


def with_types(
    parameters: Mapping[str, Any], name: str, pipelines: Mapping[str, Pipeline], hooks: Sequence[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Make objects of parameters as Kedro does, which it refuses to run a pipeline without.

    Args:
        parameters: the parameters, nested.
        name: name of the pipeline, for the message.
        pipelines: those whose type hints count for it, by name.
        hooks: what may change parameters, in every step.

    Returns:
        The parameters with the objects in their places; and what to say if they do not fit, but a hook may change them.

    Raises:
        UserError: naming each parameter that a class does not take, and why.
    """
    try:
        with _quiet():
            return ParameterValidator(dict(pipelines)).validate_raw_params(dict(parameters)), []
    except ParameterValidationError as error:
        # A resolver may have made a secret of the value.
        reasons = _INPUT.sub("", str(error).partition("\n")[2])
        problem = f"The type hints of nodes do not accept these parameters of pipeline '{name}':\n{reasons}"
        if not hooks:
            raise UserError(problem) from None
        return dict(parameters), [f"{problem}\nA hook must change them in every step: {', '.join(hooks)}."]


@contextmanager
def _quiet() -> Iterator[None]:
    for logger in _LOGGERS:
        logger.disabled = True
    try:
        yield
    finally:
        for logger in _LOGGERS:
            logger.disabled = False
