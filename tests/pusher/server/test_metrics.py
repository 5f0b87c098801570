"""What the live server's status port says about the stand-in."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.raw import RawClient
from tests.pusher.clients.site import server_library
from tests.pusher.clients.stand_in import StandIn
from tests.servers import ROOT, free_port, running
from tests.transports.sites import wait_until

pytestmark = pytest.mark.service

DOCUMENTED = (ROOT / "docs" / "live-server.md").read_text()
STATUS_PORT = free_port()


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    def start(directory: Path) -> StandIn:
        words = ["telltale.server", "--drain-s", "5", "--status-port", str(STATUS_PORT)]
        return StandIn.in_project(directory, words, PUSHER_APPS=[MAIN.setting()])

    with running(start) as server:
        yield server


def metrics() -> str:
    return httpx.get(f"http://127.0.0.1:{STATUS_PORT}/metrics", timeout=20).text


def families() -> list[Any]:
    return [
        family for family in text_string_to_metric_families(metrics()) if family.name.startswith("telltale_pusher_")
    ]


def client_of(server: StandIn, key: str) -> RawClient:
    return RawClient(server.port, f"/app/{key}?protocol=7")


def test_clients_messages_and_closings_are_counted(server: StandIn) -> None:
    refused, client = client_of(server, "unknown"), client_of(server, MAIN.key).establish()
    assert refused.closing()[0] == 4001
    refused.close()
    client.subscribe("news")
    server_library(MAIN, port=server.port).trigger("news", "done", {})
    client.expect("done")
    samples = {(s.name, *s.labels.values()): s.value for family in families() for s in family.samples}
    assert samples["telltale_pusher_connections",] == samples["telltale_pusher_opened_total",] == 1
    assert samples["telltale_pusher_messages_total",] == samples["telltale_pusher_deliveries_total",] == 1
    client.close()
    wait_until(lambda: 'telltale_pusher_closed_total{code="0"} 1.0' in metrics(), "the closing is counted")


def test_the_metrics_are_those_of_the_docs(server: StandIn) -> None:
    documented = re.findall(r"^\| `(telltale_pusher_\w+)` \| (gauge|counter) \| (.+) \|$", DOCUMENTED, re.M)
    found = [(f"{f.name}_total" if f.type == "counter" else f.name, f.type, f.documentation) for f in families()]
    assert found == documented
