"""One package per pipeline, each with a ``create_pipeline``; ``pipeline_registry`` finds them."""
