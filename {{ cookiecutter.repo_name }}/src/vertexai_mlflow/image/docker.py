"""The docker command, and what it knows about an image: where it is, and whether it fits this project and Vertex AI."""

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UserError, masked
from ..git import head, origin
from .context import credentials_in_image, files_in_image

# Names the package index that pip takes packages from, with its password if it wants one.
INDEX_VARIABLE = "PIP_INDEX_URL"
# What Vertex AI's machines run. `make image` builds for it too.
PLATFORM = "linux/amd64"
_SLOW = (
    f"The image is built for {PLATFORM}, because Vertex AI runs nothing else. This machine has a different CPU and has "
    "to emulate amd64, which is slow. Push to CI instead or, if only code has changed, use run-once --upload-code"
)
# Only Google can give these names: https://cloud.google.com/artifact-registry/docs/transition/setup-gcr-repo
_GOOGLE_REGISTRIES = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io")
_TITLE = "org.opencontainers.image.title"
_REVISION = "org.opencontainers.image.revision"
# The version of the platform in an image of a project; empty if the build did not say.
_PLATFORM_VERSION = "vertexai_mlflow.version"


def login(registry: str, token: str) -> None:
    """Log docker in to a Google registry, or to one on this machine.

    The token goes to docker's standard input, because other users of the machine can read command lines.

    Args:
        registry: its host name.
        token: an access token. https://cloud.google.com/artifact-registry/docs/docker/authentication#token

    Raises:
        UserError: when it is any other registry, which must not get the token, or when docker or the registry refuses.
    """
    if not is_googles(registry) and registry.partition(":")[0] not in ("localhost", "127.0.0.1"):
        raise UserError(
            f"{registry} is not a Google registry, so it gets no Google token. Log in: docker login {registry}"
        )
    result = docker("login", registry, "--username", "oauth2accesstoken", "--password-stdin", stdin=token)
    if result.returncode:
        raise UserError(f"docker login {registry}: {result.stderr.strip()}")


def build_and_push(project: Path, image: str) -> str:
    """Build the image from the project's Dockerfile for Vertex AI and push it; docker's output goes to stderr.

    Args:
        project: the project's folder.
        image: name and tag, in a registry that docker is logged in to.

    Returns:
        The image by digest, which always means exactly this image: ``…/name@sha256:…``

    Raises:
        UserError: when docker fails, or when the image is for another platform because its base image is.
    """
    require_engine()
    credentials_in_image(project, files_in_image(project))
    if platform.machine().lower() in ("arm64", "aarch64"):
        print(_SLOW, file=sys.stderr)
    revision, source = head(project), masked(origin(project))
    # The first two have no value here: docker takes them from environment variables of these names, if there are any.
    build_args = ["BASE_IMAGE", "EXTRAS", f"REVISION={revision}", f"SOURCE={source}", f"VERTEXAI_MLFLOW={__version__}"]
    options = [item for build_arg in build_args for item in ("--build-arg", build_arg)]
    if os.environ.get(INDEX_VARIABLE):
        options += ["--secret", f"id=pip_index_url,env={INDEX_VARIABLE}"]
    _docker_with_output("build", "--platform", PLATFORM, "--tag", image, *options, str(project))
    if reason := wrong_platform(image):
        raise UserError(
            f"{reason} It was not pushed. Its base image is probably built only for that platform, or named by the "
            f"digest of that variant. Name one for {PLATFORM} in BASE_IMAGE or in the Dockerfile."
        )
    repository = repository_of(image).rpartition("/")[0]
    _docker_with_output(
        "push",
        image,
        fix="If docker is not logged in: kedro vertexai -e <environment> docker-login. "
        f"If the push was denied: your account needs roles/artifactregistry.writer on {repository}.",
    )
    for digest in inspect("image", image)["RepoDigests"]:
        if digest.startswith(f"{repository_of(image)}@"):
            return str(digest)
    raise UserError(f"docker has pushed {image} but does not know its digest.")


def repository_of(image: str) -> str:
    """An image's name without its tag. The port of a registry is part of the name."""
    return re.sub(r":[^:/]+$", "", image)


def registry_of(image: str) -> str:
    """The host of an image's registry, with its port."""
    return image.partition("/")[0]


def is_googles(registry: str) -> bool:
    """Whether a registry is one of Google's, which may get Google's tokens."""
    return bool(_GOOGLE_REGISTRIES.fullmatch(registry))


def project_mismatch(package: str, image: str, commit: str) -> str:
    """Why an image may not have this project's current code; empty if it seems to, or is not on this machine.

    Args:
        package: the project's Python package.
        image: the image.
        commit: the commit that the image should have been built from; empty for any.
    """
    state = _state(image)
    labels = _labels(state)
    title = labels.get(_TITLE)
    if state and title != package:
        return f"Image {image} is not an image of package {package}: its label {_TITLE} is {title or 'missing'}."
    revision = labels.get(_REVISION)
    if revision and commit and revision != commit:
        return f"Image {image} was built from commit {revision[:12]}, this is {commit[:12]}. Build it again: make image"
    return ""


def other_version(image: str, labels: Mapping[str, str]) -> str:
    """Why an image does not fit this project's version of the platform; empty if it fits, or does not name a version.

    Args:
        image: the image.
        labels: its labels. Images of version 0.1 have no label for the version.
    """
    if _TITLE not in labels:
        return ""
    version = labels.get(_PLATFORM_VERSION, "0.1.0")
    if version in ("", __version__):
        return ""
    return f"Image {image} has version {version} of the platform, and this project has {__version__}. Build it again."


def refuse_other_version(image: str) -> None:
    """Refuse an image on this machine that has another version of the platform.

    Raises:
        UserError: with the fix.
    """
    if reason := other_version(image, _labels(_state(image))):
        raise UserError(f"{reason} If the registry has a newer one: docker pull {image}")


def wrong_platform(image: str) -> str:
    """Why Vertex AI cannot run an image, by its platform; empty if it can, or the image is not on this machine."""
    state = _state(image)
    image_platform = f"{state['Os']}/{state['Architecture']}" if state else PLATFORM
    if image_platform == PLATFORM:
        return ""
    return f"Image {image} is for {image_platform}, and Vertex AI runs only {PLATFORM}."


def require_image(image: str) -> None:
    """Refuse an image that is not on this machine and cannot be pulled.

    Raises:
        UserError: with the fix.
    """
    if image.startswith("-"):
        raise UserError(f"{image} is not the name of an image: docker would take it for an option.")
    require_engine()
    if docker("image", "inspect", image).returncode and docker("pull", "--quiet", image).returncode:
        raise UserError(f"There is no image {image}. Build it: make image IMAGE={image}")


def require_engine() -> None:
    """Refuse to go on without a Docker engine.

    Raises:
        UserError: with what docker says.
    """
    result = docker("version", "--format", "{{.Server.Version}}")
    if result.returncode:
        message = (result.stderr.strip().splitlines() or [""])[-1]
        raise UserError(f"The Docker engine does not answer. Is it running? ({message})")


def inspect(kind: str, name: str) -> dict[str, Any]:
    """What docker knows about an ``image`` or a ``container``.

    Raises:
        UserError: when docker knows none of that name.
    """
    result = docker(kind, "inspect", name)
    if result.returncode:
        raise UserError(f"docker {kind} inspect {name}: {result.stderr.strip()}")
    return json.loads(result.stdout)[0]


def docker(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a docker command and return it with its output.

    Raises:
        UserError: when docker is not installed.
    """
    try:
        return subprocess.run(["docker", *arguments], input=stdin, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("There is no docker command here: https://docs.docker.com/engine/install") from None


def _docker_with_output(command: str, *arguments: str, fix: str = "") -> None:
    """Run a docker command, its output on stderr."""
    # With an attestation beside it, an image would be an index, whose digest changes with each build.
    variables = {**os.environ, "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    code = subprocess.run(["docker", command, *arguments], stdout=sys.stderr, env=variables).returncode
    if code:
        raise UserError(f"docker {command} failed with exit code {code}, see above. {fix}".rstrip())


def _state(image: str) -> Mapping[str, Any]:
    """What docker knows about an image; empty if it is not on this machine, or docker does not answer."""
    try:
        return inspect("image", image)
    except UserError:
        return {}


def _labels(state: Mapping[str, Any]) -> Mapping[str, str]:
    return (state.get("Config") or {}).get("Labels") or {}
