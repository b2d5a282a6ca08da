"""Kedro's settings: https://docs.kedro.org/en/stable/tutorials/settings/"""

from vertexai_mlflow.kedro_settings import with_vertexai

CONFIG_LOADER_ARGS = with_vertexai({"base_env": "base", "default_run_env": "local"})
