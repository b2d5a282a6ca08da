"""What the project needs in Google Cloud: ``wanted`` lists it, ``__main__`` creates what ``compare`` misses.

It needs nothing but Python and ``gcloud``: ``python -m vertexai_mlflow.infra --dry-run`` in the project's folder.
"""
