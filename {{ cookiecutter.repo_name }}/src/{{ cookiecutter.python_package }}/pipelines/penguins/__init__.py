"""Example pipeline on the Palmer penguins."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
