"""The container image of the steps: what its name says, whether it is this project's, and the docker command."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import UserError, masked

# What Vertex AI's machines run. `make image` builds for it too.
PLATFORM = "linux/amd64"
_SLOW = (
    f"The image is built for {PLATFORM}, because Vertex AI runs nothing else. This machine has another processor and "
    "emulates that, which is slow. A push to CI avoids it, and for a change of code alone also: run-once --code upload"
)
# Names that only Google can give: https://cloud.google.com/artifact-registry/docs/transition/setup-gcr-repo
_GOOGLES = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev|([a-z]+\.)?gcr\.io")
_TITLE, _REVISION = "org.opencontainers.image.title", "org.opencontainers.image.revision"
# The version of the platform in an image of a project; empty where whoever built it did not say.
_PLATFORM_VERSION = "vertexai_mlflow.version"


def login(registry: str, token: str) -> None:
    """Log docker in to a registry of Google's, or one on this machine.

    The token goes to docker by its input, not by a command line.

    Args:
        registry: its host name.
        token: an access token. https://cloud.google.com/artifact-registry/docs/docker/authentication#token

    Raises:
        UserError: when it is another registry, which must not get the token, or when docker or the registry refuses.
    """
    if not is_googles(registry) and registry.partition(":")[0] not in ("localhost", "127.0.0.1"):
        raise UserError(f"{registry} is not Google's, so it gets no Google token. Log in there yourself: docker login")
    done = docker("login", registry, "--username", "oauth2accesstoken", "--password-stdin", typed=token)
    if done.returncode:
        raise UserError(f"docker login {registry}: {done.stderr.strip()}")


def build_and_push(project: Path, image: str) -> str:
    """Build the image from the project's Dockerfile for Vertex AI and push it; docker's output goes to stderr.

    Args:
        project: the project's folder.
        image: name and tag, in a registry that docker is logged in to.

    Returns:
        The image by digest, which always means this very image: ``…/name@sha256:…``

    Raises:
        UserError: when docker fails, or the image is of another platform all the same, because its base image is.
    """
    require_engine()
    if platform.machine().lower() in ("arm64", "aarch64"):
        print(_SLOW, file=sys.stderr)
    source = masked(_git(project, "remote", "get-url", "origin"))  # the address may have a password in it
    revision = head(project)
    # Without a value, docker takes the base image from the environment, if a variable there names one.
    given = ["BASE_IMAGE", f"REVISION={revision}", f"SOURCE={source}", f"VERTEXAI_MLFLOW={__version__}"]
    arguments = [item for argument in given for item in ("--build-arg", argument)]
    _loud("build", "--platform", PLATFORM, "--tag", image, *arguments, str(project), cure="")
    if unfit := wrong_platform(image):
        raise UserError(
            f"{unfit} It was not pushed. Its base image is probably for that platform alone, or named by the digest of "
            f"that variant. Name one for {PLATFORM} in BASE_IMAGE or in the Dockerfile."
        )
    repository = repository_of(image).rpartition("/")[0]
    _loud(
        "push",
        image,
        cure="If docker is not logged in: kedro vertexai -e <environment> docker-login. "
        f"If the push was denied: whoever pushes needs roles/artifactregistry.writer on {repository}.",
    )
    for digest in inspect("image", image)["RepoDigests"]:
        if digest.startswith(f"{repository_of(image)}@"):
            return str(digest)
    raise UserError(f"docker has pushed {image} but does not know its digest.")


def repository_of(image: str) -> str:
    """An image's name without its tag. The port of a registry is part of the name."""
    return re.sub(r":[^:/]+$", "", image)


def registry_of(image: str) -> str:
    """The host, with its port, that an image lies at."""
    return image.partition("/")[0]


def is_googles(registry: str) -> bool:
    """Whether a registry is one of Google's, which may be sent Google's tokens."""
    return bool(_GOOGLES.fullmatch(registry))


def doubts(package: str, image: str, here: str) -> str:
    """Why an image may not be this project as it is now; empty if there is no reason, or the image is not known here.

    Args:
        package: the project's Python package.
        image: the image.
        here: the commit that the image should have been built from; empty for any.
    """
    try:
        labels = (inspect("image", image)["Config"] or {}).get("Labels") or {}
    except UserError:
        return ""
    title = labels.get(_TITLE)
    if title != package:
        return f"Image {image} is not an image of package {package}: its label {_TITLE} is {title or 'missing'}."
    revision = labels.get(_REVISION)
    if revision and here and revision != here:
        return f"Image {image} was built from commit {revision[:12]}, this is {here[:12]}. Build it again: make image"
    return ""


def other_version(image: str, labels: Mapping[str, str]) -> str:
    """Why an image has another version of the platform than this project; empty if it has this one, or does not say.

    Args:
        image: the image.
        labels: its labels. An image of a project that does not have this one is of version 0.1, which had none.
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
        UserError: with how to get another one.
    """
    try:
        labels = (inspect("image", image)["Config"] or {}).get("Labels") or {}
    except UserError:  # it is not on this machine, or there is no docker
        return
    if reason := other_version(image, labels):
        raise UserError(f"{reason} If the registry has a newer one: docker pull {image}")


def wrong_platform(image: str) -> str:
    """Why Vertex AI cannot run an image, by its platform; empty if it can, or the image is not known here."""
    try:
        known = inspect("image", image)
    except UserError:
        return ""
    found = f"{known['Os']}/{known['Architecture']}"
    return "" if found == PLATFORM else f"Image {image} is for {found}, and Vertex AI runs only {PLATFORM}."


def head(project: Path) -> str:
    """The commit that is checked out in a folder; empty if there is none."""
    return _git(project, "rev-parse", "HEAD")


def is_dirty(project: Path, names: Iterable[str]) -> bool:
    """Whether some of a project's files differ from the commit that is checked out, or are not in it."""
    in_git = set(_git(project, "ls-files", "-z").split("\0"))
    return not in_git.issuperset(names) or bool(_git(project, "status", "--porcelain", "--untracked-files=no", "."))


def require_image(image: str) -> None:
    """Refuse an image that is not on this machine and cannot be pulled.

    Raises:
        UserError: with the cure.
    """
    require_engine()
    if docker("image", "inspect", image).returncode and docker("pull", "--quiet", image).returncode:
        raise UserError(f"There is no image {image}. Build it: make image IMAGE={image}")


def require_engine() -> None:
    """Refuse to go on without a Docker engine.

    Raises:
        UserError: with what docker says.
    """
    done = docker("version", "--format", "{{.Server.Version}}")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [""])[-1]
        raise UserError(f"The Docker engine does not answer. Is it running? ({said})")


def inspect(kind: str, name: str) -> dict[str, Any]:
    """What docker knows about an ``image`` or a ``container``.

    Raises:
        UserError: when it knows none of that name.
    """
    done = docker(kind, "inspect", name)
    if done.returncode:
        raise UserError(f"docker {kind} inspect {name}: {done.stderr.strip()}")
    return json.loads(done.stdout)[0]


def docker(*arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a docker command and return it with its output.

    Raises:
        UserError: when there is no such command.
    """
    try:
        return subprocess.run(["docker", *arguments], input=typed, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("There is no docker command here: https://docs.docker.com/engine/install") from None


def _loud(command: str, *arguments: str, cure: str) -> None:
    code = subprocess.run(["docker", command, *arguments], stdout=sys.stderr).returncode
    if code:
        raise UserError(f"docker {command} failed with exit code {code}, see above. {cure}".rstrip())


def _git(project: Path, *arguments: str) -> str:
    """What git prints; empty if it prints nothing, or is not installed."""
    try:
        return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
