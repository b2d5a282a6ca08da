"""The list of what is in an image."""

import json
import subprocess
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from vertexai_mlflow.image import sbom


@pytest.mark.slow
def test_the_document_is_cyclonedx_and_names_each_package(monkeypatch):
    """The program is run by this Python, which has packages too."""
    printed = subprocess.run([sys.executable, "-I", "-c", sbom._PROGRAM], capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    contents = json.loads(printed.stdout)
    document = sbom.make_document("r.pkg.dev/p/i/demo@sha256:ab", contents)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document) is None
    purls = {component["purl"] for component in json.loads(document)["components"]}
    assert f"pkg:pypi/pytest@{pytest.__version__}" in purls
    assert f"pkg:generic/python@{contents['python']}" in purls
    assert any(purl.startswith(f"pkg:deb/{contents['system']['ID']}/") for purl in purls) == bool(contents["deb"])
    assert len(purls) > 100
