"""A Kedro project that runs on Vertex AI Pipelines and is followed by one MLflow run."""

__version__ = "0.1.0"
