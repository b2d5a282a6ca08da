"""What Kedro finds by the entry point ``kedro.starters``: the template has an alias and needs no network."""

from kedro.framework.cli.starters import KedroStarterSpec

from . import TEMPLATE

starters = [KedroStarterSpec(alias="vertexai-mlflow", template_path=str(TEMPLATE))]
