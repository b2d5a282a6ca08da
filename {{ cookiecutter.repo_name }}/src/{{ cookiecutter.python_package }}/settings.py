"""Kedro settings: where configuration is found and how environments are merged."""

import warnings

# Libraries complaining about each other, at every command; nobody here can mend it.
for message in (r"register_new_resolver\(\) is deprecated", r".*Add type hints to the `predict` method"):
    warnings.filterwarnings("ignore", message=message)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"vertexai": ["vertexai*", "vertexai*/**"]},
    # An environment's vertexai.yml states only what differs from conf/base.
    "merge_strategy": {"vertexai": "soft"},
}
