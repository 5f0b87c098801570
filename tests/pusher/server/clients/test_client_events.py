"""Events that clients send: their rules and limits."""

from dataclasses import replace
from typing import Any

import pytest

from telltale.pusher.server.server import PusherServer
from tests.pusher.server.local_clients import APP, connected, on_a_server, run, subscribed


@pytest.mark.parametrize("data", [{"x": [1, "é", None]}, "text", '{"a":1}', 7, None, "\ud800"])
def test_a_client_event_reaches_all_others_unchanged(data: Any) -> None:
    """P37."""

    async def test(server: PusherServer) -> None:
        sender, other, stranger = (connected(server) for _ in range(3))
        subscribed(sender, "private-x")
        subscribed(other, "private-x")
        sender.send("client-said", data, channel="private-x", user_id="forged", socket_id="1.1")
        assert other.take() == [{"event": "client-said", "channel": "private-x", "data": data}]
        assert sender.take() == stranger.take() == []

    run(test)


@on_a_server
async def test_on_presence_channels_a_client_event_names_its_sender(server: PusherServer) -> None:
    """P39: by the signed data, whatever the sender says."""
    sender, other = connected(server), connected(server)
    sender.join("presence-x", "ada")
    other.join("presence-x", "bob")
    other.take()
    sender.send("client-said", {"user_id": "eve"}, channel="presence-x", user_id="eve")
    assert other.take() == [
        {"event": "client-said", "channel": "presence-x", "data": {"user_id": "eve"}, "user_id": "ada"}
    ]


@pytest.mark.parametrize(
    ("event", "channel"),
    [
        ("client-x", "news"),
        ("client-x", "private-elsewhere"),
        ("client-x", None),
        ("client-x", 7),
        ("client-x", "private-encrypted-x"),
        ("happened", "private-x"),
        ("pusher:happened", "private-x"),
        ("pusher_internal:member_added", "private-x"),
        ("client-" + "x" * 194, "private-x"),
    ],
)
def test_a_client_event_that_breaks_a_rule_is_refused(event: str, channel: Any) -> None:
    """P38, P41."""

    async def test(server: PusherServer) -> None:
        sender, other = connected(server), connected(server)
        for client in (sender, other):
            subscribed(client, "news", "private-x", "private-encrypted-x")
        subscribed(other, "private-elsewhere")
        sender.send(event, {}, channel=channel)
        assert sender.events() == ["pusher:error"]
        assert other.take() == []

    run(test)


@on_a_server
async def test_client_events_can_be_off(server: PusherServer) -> None:
    """P38."""
    app = replace(APP, has_client_events=False)
    sender, other = (subscribed(connected(server, app), "private-x") for _ in range(2))
    sender.send("client-x", {}, channel="private-x")
    assert sender.take()[0]["data"]["code"] == 4301
    assert other.take() == []


@on_a_server
async def test_the_data_of_a_client_event_has_a_limit_in_bytes(server: PusherServer) -> None:
    """P41."""
    sender, other = (subscribed(connected(server), "private-x") for _ in range(2))
    for data in ("é" * 5_120, ["x" * 10_236]):
        sender.send("client-x", data, channel="private-x")
        assert other.events() == ["client-x"]
    for data in ("é" * 5_121, ["x" * 10_237]):
        sender.send("client-x", data, channel="private-x")
        assert sender.take()[0]["data"]["code"] == 4301
        assert other.take() == []


@on_a_server
async def test_client_events_that_come_too_fast_are_dropped_and_the_connection_lives(server: PusherServer) -> None:
    """P40."""
    now = server.now()
    server.now = lambda: now  # type: ignore[method-assign]
    sender, other = (subscribed(connected(server), "private-x") for _ in range(2))
    for _ in range(15):
        sender.send("client-x", {}, channel="private-x")
    assert other.events() == ["client-x"] * 10
    assert [message["data"]["code"] for message in sender.take()] == [4301] * 5
    now += 1.0
    sender.send("client-x", {}, channel="private-x")
    assert other.events() == ["client-x"]
