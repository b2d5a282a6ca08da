"""Google tokens, and the base class of the header providers that send them to an MLflow server."""
