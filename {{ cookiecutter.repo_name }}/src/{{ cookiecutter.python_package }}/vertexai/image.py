"""The project's image, built and pushed with the docker command → its digest."""

import json
import subprocess
from pathlib import Path

from .errors import UserError


def build_and_push(project: Path, image: str) -> str:
    """Build the image from the project's Dockerfile and push it; docker's output goes where this process's goes.

    Args:
        project: the project's folder.
        image: name and tag, in a registry that docker is logged in to.

    Returns:
        The image by digest, which is never another image: ``…/name@sha256:…``

    Raises:
        UserError: when docker fails.
    """
    _docker("build", "--tag", image, str(project))
    _docker("push", image)
    inspected = _docker("image", "inspect", "--format", "{{json .RepoDigests}}", image, capture=True)
    repository = image.rpartition("/")[0] + "/" + image.rpartition("/")[2].partition(":")[0]
    for digest in json.loads(inspected):
        if digest.startswith(f"{repository.removeprefix('/')}@"):
            return str(digest)
    raise UserError(f"docker does not know the digest of {image}, though it has pushed it.")


def _docker(*arguments: str, capture: bool = False) -> str:
    try:
        done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE if capture else None, text=True)
    except FileNotFoundError:
        raise UserError("There is no docker command here: https://docs.docker.com/engine/install") from None
    if done.returncode:
        cure = {
            "build": "Is the engine running? docker version",
            "push": "Is docker logged in to the registry? gcloud auth configure-docker <region>-docker.pkg.dev",
        }.get(arguments[0], "")
        raise UserError(f"docker {arguments[0]} failed with exit code {done.returncode}, see above. {cure}".rstrip())
    return done.stdout or ""
