"""``run_config.network.host_aliases`` in a step's process: host names that no name server knows."""

import socket
from collections.abc import Mapping
from typing import Any


def alias(addresses: Mapping[str, str]) -> None:
    """Make Python find hosts at these addresses from now on.

    Only root may write /etc/hosts, and a container's user is not root. Whatever looks up names without Python, gRPC
    and child processes, does not see the aliases.

    Args:
        addresses: host name → IP address.
    """
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return look_up(addresses.get(name, host), *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
