"""From a Kedro pipeline to Vertex AI Pipelines: config and pipeline → plan → spec → a run, followed by MLflow."""
