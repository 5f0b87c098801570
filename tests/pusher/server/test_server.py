"""What clients see of the server: connections, subscriptions, changed apps, the end. On the tests' own event loop."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from telltale.pusher import signals
from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.close_codes import (
    APP_DISABLED,
    OVER_CAPACITY,
    OVER_QUOTA,
    RECONNECT,
    RESTARTING_LATER,
    TERMINATED,
    TOO_MANY_MESSAGES,
    UNKNOWN_APP,
)
from telltale.pusher.pusher_apps import AppLimits, PusherApp
from telltale.pusher.server.clients.client_messages import receive
from telltale.pusher.server.clients.rate_limits import MESSAGE_BURST
from telltale.pusher.server.membership.changes import ChannelOccupied
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.local_clients import (
    APP,
    OTHER_APP,
    PATIENCE_S,
    LocalClient,
    api_event,
    connected,
    on_a_server,
    run,
    subscribed,
    until,
)

# Connections --------------------------------------------------------------------------------------


@on_a_server
async def test_the_first_message_has_the_socket_id_and_the_timeout(server: PusherServer) -> None:
    """P2, P3."""
    client = LocalClient(server)
    [message] = [json.loads(text) for text in client.outlet.texts]
    assert message["event"] == "pusher:connection_established"
    assert json.loads(message["data"]) == {"socket_id": client.socket_id, "activity_timeout": 120}
    first, _, second = client.socket_id.partition(".")
    assert first.isdigit()
    assert second.isdigit()


@on_a_server
async def test_an_app_has_no_more_connections_than_its_limit(server: PusherServer) -> None:
    """P6: each app for itself; a connection that ends makes room."""
    app = replace(APP, limits=AppLimits(connections=2))
    first, second, third = (LocalClient(server, app) for _ in range(3))
    assert [client.outlet.code for client in (first, second, third)] == [None, None, OVER_QUOTA]
    assert LocalClient(server, OTHER_APP).outlet.code is None
    first.client.leave()
    assert LocalClient(server, app).outlet.code is None


@pytest.mark.parametrize(("setting", "address"), [("CONNECTIONS", ""), ("CONNECTIONS_PER_ADDRESS", "192.0.2.1")])
def test_a_server_that_is_full_sends_clients_away_for_a_while(setting: str, address: str) -> None:
    """P8."""

    async def test(server: PusherServer) -> None:
        codes = [LocalClient(server, address=address).outlet.code for _ in range(3)]
        assert codes == [None, None, OVER_CAPACITY]
        assert server.connection_count == 2

    with override_settings(TELLTALE=django_settings.TELLTALE | {setting: 2}):
        run(test)


@on_a_server
async def test_a_ping_is_answered(server: PusherServer) -> None:
    """P9."""
    client = connected(server)
    client.send("pusher:ping", {})
    assert client.take() == [{"event": "pusher:pong", "data": {}}]


@on_a_server
async def test_a_message_that_is_no_event_is_answered_by_an_error(server: PusherServer) -> None:
    """P12, P13: and no other client is affected."""
    client, other = connected(server), connected(server)
    strange: list[str | bytes] = ["", "{", "[]", "7", "null", '{"event":7}', "{}", b"\x00", "[" * 100_000]
    strange += ['{"event":"client-x","channel":"c","data":NaN}', '{"event":"x","data":1e999}', "x" * 300_000]
    strange += ['{"event":"pusher:unheard-of"}', '{"event":"happened","channel":"x","data":"{}"}']
    strange += ['{"event":"pusher:subscribe"}', '{"event":"pusher:subscribe","data":{"channel":7}}']
    strange += ['{"event":"pusher:signin","data":"x"}']
    for raw in strange:
        assert receive(client.client, raw) is True
        assert client.events() == ["pusher:error"], raw[:80]
    assert other.take() == []


@on_a_server
async def test_strange_data_where_none_is_needed_does_no_harm(server: PusherServer) -> None:
    client = connected(server)
    for raw in ('{"event":"pusher:unsubscribe","data":{"channel":["x"]}}', '{"event":"pusher:pong","data":[]}'):
        assert receive(client.client, raw) is True
    assert client.take() == []


@on_a_server
async def test_a_flood_of_messages_closes_the_connection(server: PusherServer) -> None:
    client = connected(server)
    count = 0
    while receive(client.client, '{"event":"pusher:pong"}'):
        count += 1
        assert count < 2 * MESSAGE_BURST
    assert client.outlet.code is TOO_MANY_MESSAGES
    assert server.connection_count == 0


# Subscriptions ------------------------------------------------------------------------------------


@on_a_server
async def test_a_public_channel_is_open_to_all_and_its_events_come_in_order(server: PusherServer) -> None:
    """P15, P16."""
    client = connected(server)
    client.subscribe("news", auth="")
    assert client.take() == [{"event": "pusher_internal:subscription_succeeded", "channel": "news", "data": {}}]
    server.publish(APP, [api_event("news", data="not JSON"), api_event("news", data='{"n": 2}'), api_event("other")])
    assert client.take() == [
        {"event": "happened", "channel": "news", "data": "not JSON"},
        {"event": "happened", "channel": "news", "data": '{"n": 2}'},
    ]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "#x", "a#b", "x" * 201, "#server-to-user-", "private-a b"])
def test_a_wrong_name_is_refused(name: str) -> None:
    """P17."""

    async def test(server: PusherServer) -> None:
        client = connected(server)
        client.subscribe(name)
        [message] = client.take()
        assert message["event"] == ("pusher:subscription_error" if name else "pusher:error")
        assert client.client.channels == {}

    run(test)


@on_a_server
async def test_long_names_are_accepted(server: PusherServer) -> None:
    """P17."""
    subscribed(connected(server), "x" * 164, "private-" + "y" * 192, "-A_z9=@,.;")


@on_a_server
async def test_a_second_subscription_is_an_error_and_each_event_still_comes_once(server: PusherServer) -> None:
    """P18."""
    client = subscribed(connected(server), "news")
    client.subscribe("news")
    [message] = client.take()
    assert message == {
        "event": "pusher:error",
        "data": {"code": None, "message": "Existing subscription to channel news"},
    }
    server.publish(APP, [api_event("news")])
    assert client.events() == ["happened"]


@on_a_server
async def test_after_unsubscribing_nothing_comes_and_a_second_time_does_no_harm(server: PusherServer) -> None:
    """P19."""
    client = subscribed(connected(server), "news")
    client.send("pusher:unsubscribe", {"channel": "news"})
    client.send("pusher:unsubscribe", {"channel": "news"})
    server.publish(APP, [api_event("news")])
    assert client.take() == []
    assert not server.membership.is_occupied(APP.id, "news")
    subscribed(client, "news")


@on_a_server
async def test_a_connection_has_no_more_channels_than_its_limit_and_leaves_all_at_its_end(server: PusherServer) -> None:
    """P20."""
    app = replace(APP, limits=AppLimits(channels_per_connection=300))
    client = subscribed(connected(server, app), *(f"c-{k}" for k in range(300)))
    client.subscribe("one-more")
    assert client.take()[0]["data"]["type"] == "LimitReached"
    assert len(server.membership.channels(app.id)) == 300
    client.client.leave()
    assert server.membership.channels(app.id) == []


def test_apps_do_not_hear_of_each_other() -> None:
    async def test(server: PusherServer) -> None:
        mine, theirs = connected(server), connected(server, OTHER_APP)
        for client, app in ((mine, APP), (theirs, OTHER_APP)):
            subscribed(client, "news")
            client.join("presence-room", app.id)
            client.sign_in(id="7", watchlist=["8"])
            client.subscribe("#server-to-user-7")
            client.take()
        stranger = connected(server, OTHER_APP)
        stranger.join("presence-room", "8")
        stranger.sign_in(id="8")
        server.publish(OTHER_APP, [api_event("news"), api_event("presence-room"), api_event("#server-to-user-7")])
        server.terminate_user(OTHER_APP.id, "7")
        assert mine.take() == []
        assert mine.client.is_open
        assert theirs.outlet.code is TERMINATED
        assert server.membership.members(APP.id, "presence-room") == {APP.id: None}

    run(test)


# Events of the API --------------------------------------------------------------------------------


@on_a_server
async def test_an_event_can_leave_out_one_connection_of_its_app(server: PusherServer) -> None:
    """P55: socket ids of others, and of none, change nothing."""
    a, b = (subscribed(connected(server), "news") for _ in range(2))
    theirs = subscribed(connected(server, OTHER_APP), "news")
    server.publish(APP, [api_event("news", socket_id=a.socket_id), api_event("news", socket_id="1.1")])
    assert (len(a.take()), len(b.take())) == (1, 2)
    server.publish(OTHER_APP, [api_event("news", socket_id=a.socket_id)])
    assert len(theirs.take()) == 1


# Apps that are read late --------------------------------------------------------------------------


apps_can_be_read = threading.Event()


def slow_apps() -> list[PusherApp]:
    """Apps that a site keeps where they can't be read for a while."""
    if not apps_can_be_read.wait(PATIENCE_S):
        raise TimeoutError
    return [APP]


def test_what_other_processes_report_before_the_apps_are_known_is_not_lost() -> None:
    """The process that leads the site sends its webhooks and signals, although it has no clients of its own."""
    occupied: list[Any] = []

    def note(channel: str, **_: Any) -> None:
        occupied.append(channel)

    async def test(server: PusherServer) -> None:
        server.receive_changes([ChannelOccupied(app_id=APP.id, channel="news")])
        await asyncio.sleep(0.1)
        assert occupied == []
        apps_can_be_read.set()
        await until(lambda: occupied == ["news"])

    signals.channel_occupied.connect(note)
    try:
        with override_settings(TELLTALE=django_settings.TELLTALE | {"PUSHER_APPS": f"{__name__}.slow_apps"}):
            run(test)
            registry().close()
    finally:
        signals.channel_occupied.disconnect(note)


# Apps that change, and the end --------------------------------------------------------------------


@on_a_server
async def test_a_changed_app_counts_for_connections_that_are_open(server: PusherServer) -> None:
    client = connected(server)
    server._apps._changed(APP, changed := replace(APP, secret="new", has_client_events=False))
    await until(lambda: client.client.app is changed)
    client.subscribe("private-x")
    assert client.events() == ["pusher:subscription_error"]
    client.app = changed
    client.subscribe("private-x")
    assert client.events() == ["pusher_internal:subscription_succeeded"]


@pytest.mark.parametrize("changed", [None, replace(APP, is_enabled=False)])
def test_the_connections_of_an_app_that_is_disabled_or_removed_are_closed(changed: PusherApp | None) -> None:
    """P6."""

    async def test(server: PusherServer) -> None:
        client, other = connected(server), connected(server, OTHER_APP)
        server._apps._changed(APP, changed)
        await until(lambda: client.outlet.code)
        assert client.outlet.code is (UNKNOWN_APP if changed is None else APP_DISABLED)
        assert other.client.is_open

    run(test)


@on_a_server
async def test_a_drain_spreads_the_return_of_the_clients(server: PusherServer) -> None:
    """P7, P36: a half returns at once, a half after a second; no new client is accepted."""
    clients = [connected(server) for _ in range(120)]
    server.drain()
    server.drain()
    late = LocalClient(server)
    assert late.outlet.code is RESTARTING_LATER
    await until(lambda: server.connection_count == 0)
    codes = [client.outlet.code for client in clients]
    assert {codes.count(RECONNECT), codes.count(RESTARTING_LATER)} == {60}


@on_a_server
async def test_members_that_stay_hear_of_those_that_a_drain_closes(server: PusherServer) -> None:
    ada, bob = connected(server), connected(server)
    ada.join("presence-x", "ada")
    bob.join("presence-x", "bob")
    ada.client.close(RECONNECT)
    assert bob.events()[-1] == "pusher_internal:member_removed"
    server.drain()
    await until(lambda: server.connection_count == 0)
    assert not server.membership.is_occupied(APP.id, "presence-x")
