"""How many examples a property is tried with."""

import os

import hypothesis
from hypothesis import HealthCheck, Phase


def examples(few: int) -> hypothesis.settings:
    """Fresh examples in each run: a few of them, or as many as the environment variable EXAMPLES says.

    An example is a run of a project, so none is made smaller: what Hypothesis prints repeats it.
    """
    return hypothesis.settings(
        max_examples=int(os.environ.get("EXAMPLES", few)), deadline=None, print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )  # fmt: skip
