"""The docker command: log in, build and push an image, look at one, run a task's command in one."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import UserError

_TITLE, _REVISION = "org.opencontainers.image.title", "org.opencontainers.image.revision"


def login(registry: str, token: str) -> None:
    """Log docker in to one of Google's registries; docker keeps the token, in no command line.

    Args:
        registry: its host name.
        token: an access token. https://cloud.google.com/artifact-registry/docs/docker/authentication#token

    Raises:
        UserError: when docker or the registry refuses.
    """
    done = _call("login", registry, "--username", "oauth2accesstoken", "--password-stdin", typed=token)
    if done.returncode:
        raise UserError(f"docker login {registry}: {done.stderr.strip()}")


def build_and_push(project: Path, image: str) -> str:
    """Build the image from the project's Dockerfile and push it; docker's output goes to stderr.

    Args:
        project: the project's folder.
        image: name and tag, in a registry that docker is logged in to.

    Returns:
        The image by digest, which is never another image: ``…/name@sha256:…``

    Raises:
        UserError: when docker fails.
    """
    _require_engine()
    # An address may have a password in it.
    source = re.sub("//[^/@]*@", "//", _git(project, "remote", "get-url", "origin"))
    revision = _git(project, "rev-parse", "HEAD")
    # The base image is the environment's, if it names one.
    given = ["BASE_IMAGE", f"REVISION={revision}", f"SOURCE={source}"]
    arguments = [item for argument in given for item in ("--build-arg", argument)]
    _loud("build", "--tag", image, *arguments, str(project), cure="")
    repository = repository_of(image).rpartition("/")[0]
    _loud(
        "push",
        image,
        cure="Not logged in? kedro vertexai -e <environment> docker-login. "
        f"Denied? Whoever pushes needs roles/artifactregistry.writer on {repository}.",
    )
    for digest in _inspect("image", image)["RepoDigests"]:
        if digest.startswith(f"{repository_of(image)}@"):
            return str(digest)
    raise UserError(f"docker does not know the digest of {image}, though it has pushed it.")


def repository_of(image: str) -> str:
    """An image's name without its tag; a registry's port is none."""
    return re.sub(r":[^:/]+$", "", image)


def registry_of(image: str) -> str:
    """The host, with its port, that an image lies at."""
    return image.partition("/")[0]


def doubts(project: Path, package: str, image: str) -> str:
    """Why an image may not be this project as it is now; empty if nothing speaks against it, or it is not known here.

    Args:
        project: the project's folder.
        package: its Python package.
        image: the image.
    """
    try:
        labels = (_inspect("image", image)["Config"] or {}).get("Labels") or {}
    except UserError:
        return ""
    title, revision, head = labels.get(_TITLE), labels.get(_REVISION), _git(project, "rev-parse", "HEAD")
    if title != package:
        return f"Image {image} is not of the package {package}: its label {_TITLE} is {title or 'missing'}."
    if revision and head and revision != head:
        return f"Image {image} was built from commit {revision[:12]}, this is {head[:12]}. Build it anew: make image"
    return ""


def require_image(image: str) -> None:
    """Refuse an image that is neither here nor can be pulled.

    Raises:
        UserError: with the cure.
    """
    _require_engine()
    if _call("image", "inspect", image).returncode and _call("pull", "--quiet", image).returncode:
        raise UserError(f"There is no image {image}. Build it: make image IMAGE={image}")


@dataclass(frozen=True)
class Containers:
    """Runs commands of tasks in containers on this machine.

    Args:
        mount: folder that containers see under its own path, for artifacts and an embedded MLflow store.
        environment: environment variables of all containers.
    """

    mount: Path
    environment: Mapping[str, str]

    def argv(self, name: str, container: Mapping[str, Any], command: Sequence[str]) -> list[str]:
        """The docker command that runs a task's command in its image.

        Args:
            name: of the container.
            container: the task's ``PipelineContainerSpec``: image, environment and resources.
            command: the command, placeholders replaced.
        """
        environment = {**self.environment, **{item["name"]: item.get("value", "") for item in container.get("env", [])}}
        resources = container.get("resources", {})
        limits = []
        if "cpuLimit" in resources:
            limits += ["--cpus", f"{min(resources['cpuLimit'], os.cpu_count() or 1):g}"]
        if "memoryLimit" in resources:
            # In gigabytes. No swap beyond it, or the limit would be twice as high.
            memory = str(int(resources["memoryLimit"] * 1e9))
            limits += ["--memory", memory, "--memory-swap", memory]
        return [
            *("docker", "run", "--init", "--name", name, "--network", "host", *limits),
            *("--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{self.mount}:{self.mount}"),
            *(item for variable, value in environment.items() for item in ("--env", f"{variable}={value}")),
            *("--entrypoint", command[0], container["image"], *command[1:]),
        ]

    def remove(self, name: str) -> str:
        """Remove a container, running or not.

        Returns:
            Why it ended, if docker knows more than its exit code.
        """
        try:
            state = _inspect("container", name)["State"]
        except UserError:
            return ""
        _call("rm", "--force", name)
        return "killed for lack of memory: raise run_config.resources" if state["OOMKilled"] else str(state["Error"])


def _require_engine() -> None:
    done = _call("version", "--format", "{{.Server.Version}}")
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [""])[-1]
        raise UserError(f"The Docker engine does not answer. Is it running? ({said})")


def _inspect(kind: str, name: str) -> dict[str, Any]:
    done = _call(kind, "inspect", name)
    if done.returncode:
        raise UserError(f"docker {kind} inspect {name}: {done.stderr.strip()}")
    return json.loads(done.stdout)[0]


def _loud(command: str, *arguments: str, cure: str) -> None:
    code = subprocess.run(["docker", command, *arguments], stdout=sys.stderr).returncode
    if code:
        raise UserError(f"docker {command} failed with exit code {code}, see above. {cure}".rstrip())


def _call(*arguments: str, typed: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], input=typed, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("There is no docker command here: https://docs.docker.com/engine/install") from None


def _git(project: Path, *arguments: str) -> str:
    """What git says; empty if it says nothing, or is not there."""
    try:
        return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
