"""Host names that no name server knows: ``run_config.network.host_aliases`` in a step's process."""

import socket
from collections.abc import Mapping
from typing import Any


def alias(addresses: Mapping[str, str]) -> None:
    """Make Python find hosts at these addresses, from now on.

    A container that is not root's cannot write /etc/hosts. What looks up names without Python, gRPC and child
    processes, does not see this.

    Args:
        addresses: host name → IP address.
    """
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return look_up(addresses.get(name, host), *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
