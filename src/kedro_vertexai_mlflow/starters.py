"""The entry point ``kedro.starters``: ``kedro new`` knows the template by an alias and needs no network for it."""

from kedro.framework.cli.starters import KedroStarterSpec

from . import TEMPLATE

starters = [KedroStarterSpec(alias="vertexai-mlflow", template_path=str(TEMPLATE))]
