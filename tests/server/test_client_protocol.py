"""Address and TLS of clients in the live server's protocols: on a port, on a Unix socket, behind a proxy."""

from typing import Any

import pytest
from uvicorn.config import Config

from telltale.server.client_protocol import client_address, is_secure
from telltale.transports.http import LiveRequest

FORWARDED = LiveRequest(forwarded_for="198.51.100.1")
DIRECT = LiveRequest()


class Transport:
    """An asyncio transport with this `peername`, which is None or empty on a Unix socket."""

    def __init__(self, peername: object, sslcontext: object = None) -> None:
        self.info = {"peername": peername, "sslcontext": sslcontext}

    def get_extra_info(self, name: str) -> object:
        return self.info[name]


@pytest.mark.parametrize(
    ("peername", "request_", "address"),
    [
        (("203.0.113.9", 4711), FORWARDED, "203.0.113.9"),
        (("127.0.0.1", 4711), FORWARDED, "198.51.100.1"),
        (("::1", 4711, 0, 0), FORWARDED, "198.51.100.1"),
        ("", FORWARDED, "198.51.100.1"),
        (None, FORWARDED, "198.51.100.1"),
        ("", DIRECT, ""),
        (("127.0.0.1", 4711), DIRECT, "127.0.0.1"),
    ],
)
def test_the_address_is_the_clients_or_empty_if_it_is_unknown(
    peername: Any, request_: LiveRequest, address: str
) -> None:
    config = Config("none:none", forwarded_allow_ips="127.0.0.1,::1", log_config=None)
    assert client_address(Transport(peername), request_, config) == address  # type: ignore[arg-type]


def test_the_peer_of_a_unix_socket_is_not_trusted_if_127_0_0_1_is_not() -> None:
    config = Config("none:none", forwarded_allow_ips="10.0.0.1", log_config=None)
    assert client_address(Transport(""), FORWARDED, config) == ""  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("transport", "forwarded_proto", "expected"),
    [
        (Transport(("203.0.113.9", 4711)), "", False),
        (Transport(("203.0.113.9", 4711), "TLS"), "", True),
        (Transport(("203.0.113.9", 4711)), "https", False),
        (Transport(("203.0.113.9", 4711), "TLS"), "http", True),
        (Transport(("127.0.0.1", 4711)), "https", True),
        (Transport(("127.0.0.1", 4711)), " wss ", True),
        (Transport(("127.0.0.1", 4711), "TLS"), "http", False),
        (Transport(""), "https", True),
    ],
)
def test_only_a_trusted_proxy_says_whether_the_client_uses_tls(
    transport: Transport, forwarded_proto: str, expected: bool
) -> None:
    config = Config("none:none", forwarded_allow_ips="127.0.0.1", log_config=None)
    assert is_secure(transport, forwarded_proto, config) is expected  # type: ignore[arg-type]
