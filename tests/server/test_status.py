"""The status addresses: what they tell, and to whom."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from telltale.live.driver import close_driver, driver
from telltale.server.status import StatusApplication


def health(host: str, *, is_status_port: bool = False) -> tuple[int, dict[str, Any]]:
    """The status and the content of `/healthz` for a request to this host."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def ask() -> None:
        scope = {"type": "http", "path": "/healthz", "headers": [(b"host", host.encode())]}
        await StatusApplication(driver() if is_status_port else None)(scope, receive, send)
        await close_driver()

    asyncio.run(ask())
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize("host", ["evil.example", "10.0.0.7:8001", ""])
def test_s28_a_foreign_host_learns_only_whether_the_server_serves(settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["example.org"]
    assert health(host) == (200, {"state": "serving"})
    for status, content in (health("example.org"), health(host, is_status_port=True)):
        assert (status, content["connections"], content["broker"]) == (200, 0, "works")
