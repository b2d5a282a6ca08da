"""Plans of pipelines of a few nodes."""

from kedro.pipeline import Node, Pipeline

from vertexai_mlflow.compile.plan import Plan, make_plan
from vertexai_mlflow.contract.catalog import Catalog
from vertexai_mlflow.settings.models import RunConfig

REMOTE = {"type": "pandas.ParquetDataset", "filepath": "gs://bucket/x.parquet"}


def same(*args: object) -> tuple[object, ...]:
    """A node's function."""
    return args


def planned(*nodes: Node, catalog: tuple[str, ...] | dict = ("raw",), **run_config: object) -> Plan:
    """The plan of these nodes, some of whose datasets are in a bucket."""
    config = catalog if isinstance(catalog, dict) else dict.fromkeys(catalog, REMOTE)
    return make_plan("p", Pipeline(nodes), RunConfig(image="x", **run_config), Catalog(config, "catalog.yml").entry)
