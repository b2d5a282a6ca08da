"""Kedro's settings: https://docs.kedro.org/en/stable/configure/kedro_project_settings/"""

from vertexai_mlflow.kedro_settings import with_vertexai

CONFIG_LOADER_ARGS = with_vertexai({"base_env": "base", "default_run_env": "local"})
