"""What the project needs in Google Cloud: ``wanted`` says what, ``compare`` what exists, ``__main__`` creates the rest.

It needs nothing but Python and ``gcloud``: ``python -m vertexai_mlflow.infra --dry-run`` in the project's folder.
"""
