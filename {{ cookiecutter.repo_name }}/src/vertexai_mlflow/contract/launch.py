"""What is launched, in one record: commands make it, ``compile`` writes it into a spec, ``resume`` reads it back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .uploaded import Code


@dataclass(frozen=True)
class Launch:
    """A pipeline of a project, or a part of it, and what it runs with.

    Args:
        package: the project's Python package, after which the job is named.
        pipeline: name of the Kedro pipeline; several are joined by commas.
        selection: which part of it, by the arguments of Kedro's ``Pipeline.filter``.
        params: runtime parameters, nested.
        load_versions: dataset → the version that steps load, as for ``kedro run``.
        is_async: whether steps load and save their datasets side by side, as for ``kedro run``.
        env: Kedro configuration environment; empty for Kedro's default.
        conf_source: folder of the configuration, below the project's; empty for Kedro's default.
        image: container image of the steps; empty for ``run_config.image``.
        code: the code that the steps run instead of the image's.
        name: its entry of ``run_config.launches``; empty if it was put together by options.
    """

    package: str
    pipeline: str = "__default__"
    selection: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    load_versions: Mapping[str, str] = field(default_factory=dict)
    is_async: bool = False
    env: str = ""
    conf_source: str = ""
    image: str = ""
    code: Code | None = None
    name: str = ""
