"""Headers for an MLflow server behind authorization, and the Google tokens in them."""
