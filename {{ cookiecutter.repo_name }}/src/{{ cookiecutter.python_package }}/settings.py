"""Kedro settings: where configuration is found and how environments are merged."""

import warnings

from omegaconf.resolvers import oc

from .auth import resolvers

# Kedro causes this warning of OmegaConf in every command, and a project can do nothing about it.
warnings.filterwarnings("ignore", message=r"register_new_resolver\(\) is deprecated")

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
