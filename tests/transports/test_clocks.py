"""Clocks that are set while clients are connected: nothing is held back, and nothing is closed."""

import time
from collections.abc import Callable
from typing import Any

import pytest

import telltale
from telltale.core.topics import task_topic
from telltale.live import tickets
from tests.factories import moved, started, task_of
from tests.transports.conftest import CLIENTS, Client
from tests.transports.sites import ThreadSite, in_a_thread

pytestmark = pytest.mark.service

HOUR_S = 3_600.0


def set_clock(monkeypatch: pytest.MonkeyPatch, by_s: float) -> None:
    """Set this machine's clock, which is also the clock of SQLite."""
    real: Callable[[], float] = time.time
    monkeypatch.setattr(time, "time", lambda: real() + by_s)


@pytest.fixture(params=["uvicorn", "live"])
def site(request: pytest.FixtureRequest, transactional_db: None) -> Any:
    with in_a_thread(request.param) as site:
        yield site


@pytest.mark.parametrize("transport", sorted(CLIENTS))
def test_f39_a_server_whose_clock_is_put_back_holds_nothing_back(
    site: ThreadSite, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    task = task_of()
    claim = started(task)
    client = CLIENTS[transport](site, tickets.issue([task_topic(task.pk)]))
    client.snapshot(task.pk)
    set_clock(monkeypatch, -HOUR_S)
    for seq in (2, 3, 4):
        moved(claim, seq / 10, seq=seq)
    assert client.snapshot(task.pk, lambda s: s["seq"] == 4)["progress"]["fraction"] == 0.4
    client.close()


def test_f39_a_server_whose_clock_is_put_forward_closes_no_connection_but_those_whose_ticket_has_expired(
    site: ThreadSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    lasting, short = (
        CLIENTS["websocket"](site, tickets.issue(["project:7"], ttl_s=ttl_s)) for ttl_s in (9 * HOUR_S, 600)
    )
    for client in (lasting, short):
        client.message("hello")
    set_clock(monkeypatch, HOUR_S)
    telltale.publish("project:7", "first", 1)
    assert event_data(lasting, "first") == 1
    assert short.message("bye")["code"] == 4402
    telltale.publish("project:7", "second", 2)
    assert event_data(lasting, "second") == 2
    for client in (lasting, short):
        client.close()


def event_data(client: Client, name: str) -> Any:
    """Return the data of the event with this name, once it has arrived."""
    message = client.until(lambda message: [event for event in message.get("events", []) if event["name"] == name])
    return next(event["data"] for event in message["events"] if event["name"] == name)
