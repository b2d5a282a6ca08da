"""What a project's ``settings.py`` takes from here: the arguments of its configuration loader.

Every Kedro command of the project imports this module, so it imports nothing that takes time.
"""

import warnings
from collections.abc import Mapping
from typing import Any

from omegaconf.resolvers import oc

from .auth import resolvers

_OURS: dict[str, Any] = {
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"], "vertexai": ["vertexai*", "vertexai*/**"]},
    "custom_resolvers": {
        "oc.env": oc.env,
        "gcp.id_token": resolvers.id_token,
        "gcp.access_token": resolvers.access_token,
        "gcp.secret": resolvers.secret,
    },
    # An environment's vertexai.yml states only what differs from conf/base.
    "merge_strategy": {"vertexai": "soft"},
}


def with_vertexai(loader_args: Mapping[str, Any]) -> dict[str, Any]:
    """Add what ``vertexai.yml`` and ``mlflow.yml`` need to ``CONFIG_LOADER_ARGS``, and keep known warnings quiet.

    Args:
        loader_args: the project's own arguments. Where both say something, these count.
    """
    _leave_out_known_warnings()
    merged = dict(_OURS)
    for name, value in loader_args.items():
        ours = _OURS.get(name)
        merged[name] = {**ours, **value} if isinstance(ours, Mapping) and isinstance(value, Mapping) else value
    return merged


def _leave_out_known_warnings() -> None:
    # Kedro causes this warning of OmegaConf in every command, and a project can do nothing about it.
    warnings.filterwarnings("ignore", message=r"register_new_resolver\(\) is deprecated")
    show_warning = warnings.showwarning

    def without_kedro_mlflows(message: Any, category: Any, filename: str, *rest: Any, **more: Any) -> None:
        """Leave out what MLflow says about a class of kedro-mlflow, whatever the filters are."""
        if not ("mlflow" in filename and "Add type hints to the `predict` method" in str(message)):
            show_warning(message, category, filename, *rest, **more)

    warnings.showwarning = without_kedro_mlflows
