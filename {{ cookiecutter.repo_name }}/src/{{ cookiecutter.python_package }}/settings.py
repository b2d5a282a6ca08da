"""Kedro settings: where configuration is found and how environments are merged."""

import warnings
from typing import Any

from omegaconf.resolvers import oc

from .auth import resolvers

# Kedro causes this warning of OmegaConf in every command, and a project can do nothing about it.
warnings.filterwarnings("ignore", message=r"register_new_resolver\(\) is deprecated")
_show_warning = warnings.showwarning


def _without_kedro_mlflows(message: Any, category: Any, filename: str, *rest: Any, **more: Any) -> None:
    """Leave out what MLflow says about a class of kedro-mlflow whenever that is imported. It ignores filters there."""
    if not ("mlflow" in filename and "Add type hints to the `predict` method" in str(message)):
        _show_warning(message, category, filename, *rest, **more)


warnings.showwarning = _without_kedro_mlflows

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**"], "vertexai": ["vertexai*", "vertexai*/**"]},
    "custom_resolvers": {
        "oc.env": oc.env,
        "gcp.id_token": resolvers.id_token,
        "gcp.access_token": resolvers.access_token,
    },
    # An environment's vertexai.yml states only what differs from conf/base.
    "merge_strategy": {"vertexai": "soft"},
}
