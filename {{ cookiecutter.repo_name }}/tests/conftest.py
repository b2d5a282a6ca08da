"""Makes the project's pipelines known to Kedro."""

from pathlib import Path

import pytest
from kedro.framework.startup import ProjectMetadata, bootstrap_project

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def project() -> ProjectMetadata:
    return bootstrap_project(PROJECT)
