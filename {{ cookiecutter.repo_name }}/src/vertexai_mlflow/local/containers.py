"""Runs a task's command in the task's image on this machine, by a docker command."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..image.docker import docker, inspect

# Variables that change what the docker command itself does, so it must not get the container's.
_OF_DOCKER = re.compile(r"PATH|HOME|(LD|DYLD|DOCKER|XDG)_.*")


@dataclass(frozen=True)
class Containers:
    """How tasks run in containers.

    Args:
        mount: folder that containers see under the same path, for artifacts and an embedded MLflow store.
        environment: environment variables of all containers.
    """

    mount: Path
    environment: Mapping[str, str]

    def variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        """The environment variables of a task's container."""
        return {**self.environment, **{item["name"]: item.get("value", "") for item in container.get("env", [])}}

    def environment_of_docker(self, container: Mapping[str, Any]) -> dict[str, str]:
        """Those that the docker command must have as well, because ``argv`` only names them."""
        return {name: value for name, value in self.variables(container).items() if not _OF_DOCKER.fullmatch(name)}

    def argv(self, name: str, container: Mapping[str, Any], command: Sequence[str]) -> list[str]:
        """Make the docker command.

        Args:
            name: name of the container.
            container: the task's ``PipelineContainerSpec``: image, environment and resources.
            command: the task's command, with its placeholders replaced.
        """
        resources = container.get("resources", {})
        limits = []
        if "cpuLimit" in resources:
            limits += ["--cpus", f"{min(resources['cpuLimit'], os.cpu_count() or 1):g}"]
        if "memoryLimit" in resources:
            # The limit is in gigabytes. With swap on top of it, a container could use twice as much memory.
            memory = str(int(resources["memoryLimit"] * 1e9))
            limits += ["--memory", memory, "--memory-swap", memory]
        # Everybody on this machine can read the arguments, so docker takes the values from its own environment.
        variables = [
            f"{variable}={value}" if _OF_DOCKER.fullmatch(variable) else variable
            for variable, value in self.variables(container).items()
        ]
        return [
            *("docker", "run", "--init", "--name", name, "--network", "host", *limits),
            *("--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{self.mount}:{self.mount}"),
            *(item for variable in variables for item in ("--env", variable)),
            *("--entrypoint", command[0], container["image"], *command[1:]),
        ]

    def remove(self, name: str) -> str:
        """Remove a container, running or not.

        Returns:
            Why it ended, if docker knows more than its exit code.
        """
        try:
            state = inspect("container", name)["State"]
        except UserError:
            return ""
        docker("rm", "--force", name)
        return "killed for lack of memory: raise run_config.resources" if state["OOMKilled"] else str(state["Error"])
