"""The address of this machine, as others reach it."""

import socket

# Addresses of public name servers; connecting a datagram socket sends nothing, it only chooses a route.
_ROUTES = ((socket.AF_INET, "8.8.8.8"), (socket.AF_INET6, "2001:4860:4860::8888"))


def node_ip() -> str | None:
    """The IP address from which this machine reaches others; None without a network."""
    for family, destination in _ROUTES:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((destination, 80))
                return str(probe.getsockname()[0])
        except OSError:
            continue
    return None
