"""Ports for the servers that tests start."""

import random
import socket
from contextlib import ExitStack

PORTS = range(10_000, 32_000)
"""Below the range from which systems choose the ports of outgoing connections: none of those takes a port before its
server starts, or while its server restarts."""


def free_port(count: int = 1) -> int:
    """The first of `count` ports that were free a moment ago; chosen at random, as test runs work side by side."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with ExitStack() as probes:
            try:
                for n in range(count):
                    probe = probes.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port + n))
            except OSError:
                continue
        return port
