"""Whose a line is, as the live server's protocols ask: behind a port, behind a Unix socket, behind a proxy."""

from typing import Any

import pytest
from uvicorn.config import Config

from telltale.server.client_protocol import client_of

FORWARDED = {"headers": [(b"x-forwarded-for", b"198.51.100.1")]}
BARE: dict[str, Any] = {"headers": []}


class Transport:
    """What asyncio tells of the other end; a Unix socket has no name, or an empty one."""

    def __init__(self, peername: object) -> None:
        self.peername = peername

    def get_extra_info(self, name: str) -> object:
        return {"peername": self.peername}[name]


@pytest.mark.parametrize(
    ("peername", "scope", "address"),
    [
        (("203.0.113.9", 4711), FORWARDED, "203.0.113.9"),
        (("127.0.0.1", 4711), FORWARDED, "198.51.100.1"),
        (("::1", 4711, 0, 0), FORWARDED, "198.51.100.1"),
        ("", FORWARDED, "198.51.100.1"),
        (None, FORWARDED, "198.51.100.1"),
        ("", BARE, ""),
        (("127.0.0.1", 4711), BARE, "127.0.0.1"),
    ],
)
def test_the_address_is_the_clients_and_none_where_nobody_says_it(peername: Any, scope: Any, address: str) -> None:
    config = Config("none:none", forwarded_allow_ips="127.0.0.1,::1", log_config=None)
    assert client_of(Transport(peername), scope, config) == address  # type: ignore[arg-type]


def test_who_trusts_nobody_at_127_0_0_1_believes_nobody_behind_a_unix_socket() -> None:
    config = Config("none:none", forwarded_allow_ips="10.0.0.1", log_config=None)
    assert client_of(Transport(""), FORWARDED, config) == ""  # type: ignore[arg-type]
