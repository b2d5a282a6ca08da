"""What is in an image, as a CycloneDX document: ``python -m vertexai_mlflow.image.sbom IMAGE``, for `make sbom`.

The image's own Python is asked: what is installed there, and what Debian's package manager knows.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from ..errors import UserError
from .docker import PLATFORM, docker

# Runs in the image, which has nothing of this module. The base image has Python packages beside those of the steps.
_PROGRAM = """
import json, platform, shutil, subprocess, sys, sysconfig
from importlib.metadata import distributions
places = [*sys.path, sysconfig.get_path("purelib", vars={"base": sys.base_prefix})]
lines = []
if shutil.which("dpkg-query"):
    command = ["dpkg-query", "--show", "--showformat", "${Package}\\t${Version}\\t${Architecture}\\n"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
print(json.dumps({
    "python": platform.python_version(),
    "pypi": sorted({(package.name, package.version) for package in distributions(path=places) if package.name}),
    "deb": [line.split("\\t") for line in lines],
    "system": platform.freedesktop_os_release(),
}))
"""


def list_contents(image: str) -> str:
    """Make the document.

    Args:
        image: the image, by digest or by name. Docker fetches it if it is not on this machine.

    Returns:
        JSON of CycloneDX 1.6. https://cyclonedx.org/docs/1.6/json

    Raises:
        UserError: when docker cannot run the image, or it has no Python.
    """
    isolated = ("--rm", "--network=none", f"--platform={PLATFORM}", "--entrypoint=python")
    result = docker("run", *isolated, image, "-I", "-c", _PROGRAM)
    if result.returncode:
        raise UserError(f"make sbom: {image} cannot say what is in it: {result.stderr.strip()}")
    return make_document(image, json.loads(result.stdout))


def make_document(image: str, contents: dict[str, Any]) -> str:
    """Make the document of an image from what its Python has printed."""
    system = contents["system"].get("ID", "linux")
    packages = [PackageURL("generic", None, "python", contents["python"])]
    packages += [PackageURL("pypi", None, *package) for package in contents["pypi"]]
    packages += [PackageURL("deb", system, name, version, {"arch": arch}) for name, version, arch in contents["deb"]]
    bom = Bom(components=map(_make_component, packages))
    name, _, digest = image.partition("@")
    bom.metadata.component = Component(name=name, version=digest, type=ComponentType.CONTAINER)
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot6(bom).output_as_string(indent=1)


def _make_component(purl: PackageURL) -> Component:
    return Component(name=purl.name, version=purl.version, purl=purl, bom_ref=purl.to_string())


def main(argv: Sequence[str]) -> None:
    """Print the document of the image that is named."""
    (image,) = argv
    if not image:
        raise UserError('Name the image: make sbom IMAGE="…@sha256:…"')
    print(list_contents(image))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
