"""What clients see of the server: subscriptions, members, users, events. On the tests' own event loop, by its rules."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from telltale.pusher import signals
from telltale.pusher.app_registry import registry
from telltale.pusher.protocol.api_events import ApiEvent
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
from telltale.pusher.protocol.signatures import auth_token, subscription_text
from telltale.pusher.pusher_apps import AppLimits, PusherApp
from telltale.pusher.server import announcements
from telltale.pusher.server.changes import ChannelOccupied
from telltale.pusher.server.client_messages import receive
from telltale.pusher.server.rate_limits import MESSAGE_BURST
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.local_clients import APP, PATIENCE_S, LocalClient, run, until

OTHER_APP = PusherApp(id="2", key="key-2", secret="secret-2")

ServerTest = Callable[[PusherServer], Awaitable[None]]


def on_a_server(test: ServerTest) -> Callable[[], None]:
    """Make a test of a coroutine function that takes a server."""

    def run_test() -> None:
        run(test)

    run_test.__name__, run_test.__doc__ = test.__name__, test.__doc__
    return run_test


def connected(server: PusherServer, app: PusherApp = APP) -> LocalClient:
    """A client that has read the first message."""
    client = LocalClient(server, app)
    assert client.events() == ["pusher:connection_established"]
    return client


def subscribed(client: LocalClient, *channels: str) -> LocalClient:
    for channel in channels:
        client.subscribe(channel)
        assert "pusher_internal:subscription_succeeded" in client.events()
    return client


def api_event(channel: str, name: str = "happened", data: str = "{}", socket_id: str | None = None) -> ApiEvent:
    return ApiEvent(name=name, channel=channel, data=data, socket_id=socket_id)


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
    """P12, P13: and concerns nobody else."""
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


# Private channels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", ["private-x", "private-encrypted-x", "private-cache-x", "presence-x"])
def test_a_subscription_without_its_signature_is_refused_on_its_channel(channel: str) -> None:
    """P21, P23, P25: and the connection stays."""

    async def test(server: PusherServer) -> None:
        client, other = connected(server), connected(server)
        data = '{"user_id":"1"}' if channel.startswith("presence-") else None
        text = subscription_text(client.socket_id, channel, data)
        right = auth_token(APP.key, APP.secret, text)
        wrong: list[Any] = [None, "", "x", ":", right + "0", right.upper(), right.removeprefix(APP.key), 7, [right]]
        wrong += [f"{OTHER_APP.key}:{right.partition(':')[2]}", auth_token(OTHER_APP.key, OTHER_APP.secret, text)]
        wrong += [auth_token(APP.key, APP.secret, subscription_text(other.socket_id, channel, data))]
        wrong += [auth_token(APP.key, APP.secret, subscription_text(client.socket_id, channel + "y", data))]
        wrong += [auth_token(APP.key, APP.secret, subscription_text(client.socket_id, channel, '{"user_id":"2"}'))]
        for auth in wrong:
            client.subscribe(channel, auth=auth, channel_data=data)
            [message] = client.take()
            assert message["event"] == "pusher:subscription_error"
            assert message["channel"] == channel
            assert (message["data"]["type"], message["data"]["status"]) == ("AuthError", 401)
            assert right.partition(":")[2] not in json.dumps(message)
        client.subscribe(channel, auth=right, channel_data=data)
        assert "pusher_internal:subscription_succeeded" in client.events()

    run(test)


@on_a_server
async def test_channel_data_is_signed_byte_for_byte_on_private_channels_too(server: PusherServer) -> None:
    """P22."""
    client = connected(server)
    client.subscribe("private-x", channel_data='{ "user_id" :  10,"x":"é\\u00e9"}')
    assert client.events() == ["pusher_internal:subscription_succeeded"]


# Presence channels --------------------------------------------------------------------------------


@on_a_server
async def test_members_see_each_other_come_and_go(server: PusherServer) -> None:
    """P27, P28."""
    ada, bob = connected(server), connected(server)
    ada.join("presence-x", 1, {"name": "Ada"})
    [message] = ada.take()
    assert message["data"] == {"presence": {"ids": ["1"], "hash": {"1": {"name": "Ada"}}, "count": 1}}
    bob.join("presence-x", "bob")
    [message] = bob.take()
    assert message["data"]["presence"] == {
        "ids": ["1", "bob"],
        "hash": {"1": {"name": "Ada"}, "bob": None},
        "count": 2,
    }
    [message] = ada.take()
    assert message == {
        "event": "pusher_internal:member_added",
        "channel": "presence-x",
        "data": {"user_id": "bob", "user_info": None},
    }
    bob.client.leave()
    assert ada.take() == [
        {"event": "pusher_internal:member_removed", "channel": "presence-x", "data": {"user_id": "bob"}}
    ]


@on_a_server
async def test_a_user_with_several_connections_comes_and_goes_once(server: PusherServer) -> None:
    """P28."""
    ada = connected(server)
    ada.join("presence-x", "ada")
    bobs = [connected(server) for _ in range(3)]
    for bob in bobs:
        bob.join("presence-x", "bob")
        assert bob.events() == ["pusher_internal:subscription_succeeded"]
    assert [event for event in ada.events() if "member" in event] == ["pusher_internal:member_added"]
    bobs[0].client.leave()
    bobs[1].send("pusher:unsubscribe", {"channel": "presence-x"})
    assert ada.take() == []
    bobs[2].client.close(RECONNECT)
    assert ada.events() == ["pusher_internal:member_removed"]


@on_a_server
async def test_the_members_of_a_channel_are_limited(server: PusherServer) -> None:
    """P29: a further connection of a member is no new member."""
    app = replace(APP, limits=AppLimits(presence_members=2))
    clients = [connected(server, app) for _ in range(4)]
    for client, user in zip(clients, ["ada", "bob", "bob", "eve"], strict=True):
        client.join("presence-x", user)
    assert "pusher_internal:subscription_succeeded" in clients[2].events()
    [message] = clients[3].take()
    assert message["event"] == "pusher:subscription_error"
    assert (message["data"]["type"], message["data"]["status"]) == ("LimitReached", 4100)
    clients[0].client.leave()
    clients[3].join("presence-x", "eve")
    assert clients[3].events() == ["pusher_internal:subscription_succeeded"]


@pytest.mark.parametrize(
    "data",
    [
        '{"user_id":"' + "x" * 129 + '"}',
        '{"user_id":"1","user_info":"' + "x" * 1_025 + '"}',
        '{"user_id":""}',
        '{"user_id":null}',
        '{"user_id":true}',
        '{"user_id":{"a":1}}',
        "{}",
        "[]",
        "x",
        '{"user_id":"1","user_info":1e999}',
        '{"user_id":"1","user_info":NaN}',
    ],
)
def test_a_members_data_is_checked(data: str) -> None:
    """P26, P29: although the site has signed it."""

    async def test(server: PusherServer) -> None:
        client = connected(server)
        client.subscribe("presence-x", channel_data=data)
        assert client.events() == ["pusher:subscription_error"]
        assert not server.membership.is_occupied(APP.id, "presence-x")

    run(test)


@on_a_server
async def test_a_signed_in_connection_needs_no_channel_data(server: PusherServer) -> None:
    """P26."""
    client = connected(server)
    client.subscribe("presence-x")
    assert client.events() == ["pusher:subscription_error"]
    client.sign_in(id="ada", user_info={"name": "Ada"})
    client.take()
    client.subscribe("presence-x")
    [message] = client.take()
    assert message["data"]["presence"]["hash"] == {"ada": {"name": "Ada"}}


# Cache channels and counts ------------------------------------------------------------------------


@on_a_server
async def test_a_cache_channel_sends_its_last_event_to_new_subscribers(server: PusherServer) -> None:
    """P30: of the API alone, and right after success."""
    first, late = connected(server), connected(server)
    first.subscribe("private-cache-x")
    assert [message["event"] for message in first.take()] == [
        "pusher_internal:subscription_succeeded",
        "pusher:cache_miss",
    ]
    server.publish(APP, [api_event("private-cache-x", data="1"), api_event("private-cache-x", data="2")])
    first.send("client-x", {}, channel="private-cache-x")
    late.subscribe("private-cache-x")
    success, cached = late.take()
    assert success["event"] == "pusher_internal:subscription_succeeded"
    assert cached == {"event": "happened", "channel": "private-cache-x", "data": "2"}
    assert server.cached_event(APP, "private-cache-x") == ("2", pytest.approx(APP.cache_s, abs=30))
    assert server.cached_event(OTHER_APP, "private-cache-x") is None


@on_a_server
async def test_the_number_of_subscribers_is_told_where_the_app_wants_it(server: PusherServer) -> None:
    """P31: never on presence channels; off by default."""
    app = replace(OTHER_APP, has_subscription_counts=True)
    first, second = connected(server, app), connected(server, app)
    first.subscribe("news")
    second.subscribe("news")
    counts = [message["data"]["subscription_count"] for message in first.take() if "count" in message["event"]]
    assert counts == [1, 2]
    assert second.events() == ["pusher_internal:subscription_succeeded", "pusher_internal:subscription_count"]
    second.send("pusher:unsubscribe", {"channel": "news"})
    assert first.take()[0]["data"] == {"subscription_count": 1}
    first.join("presence-x", "1")
    assert first.events() == ["pusher_internal:subscription_succeeded"]
    silent = connected(server)
    silent.subscribe("news")
    assert silent.events() == ["pusher_internal:subscription_succeeded"]


def test_a_large_number_of_subscribers_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """P31: the latest number is told at last."""
    monkeypatch.setattr(announcements, "FEW_SUBSCRIBERS", 3)
    monkeypatch.setattr(announcements, "COUNT_EVERY_S", 0.2)

    async def test(server: PusherServer) -> None:
        app = replace(APP, has_subscription_counts=True)
        first = connected(server, app)
        first.subscribe("news")
        for _ in range(49):
            connected(server, app).subscribe("news")
        told: list[int] = []

        def latest() -> int:
            told.extend(m["data"]["subscription_count"] for m in first.take() if "count" in m["event"])
            return told[-1]

        await until(lambda: latest() == 50)
        assert told[:4] == [1, 2, 3, 4]
        assert len(told) < 20

    run(test)


# Client events ------------------------------------------------------------------------------------


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


# Users --------------------------------------------------------------------------------------------


@on_a_server
async def test_a_user_signs_in(server: PusherServer) -> None:
    """P43, P44."""
    client = connected(server)
    client.sign_in(id="7", user_info={"name": "Ada"})
    [message] = client.take()
    assert message["event"] == "pusher:signin_success"
    assert json.loads(message["data"]["user_data"]) == {"id": "7", "user_info": {"name": "Ada"}}


@pytest.mark.parametrize(
    "user", [{}, {"id": ""}, {"id": 7}, {"id": None}, {"id": "7", "watchlist": "8"}, {"id": "x" * 129}]
)
def test_a_sign_in_with_wrong_data_is_refused(user: dict[str, Any]) -> None:
    """P43, P44."""

    async def test(server: PusherServer) -> None:
        client = connected(server)
        client.sign_in(**user)
        [message] = client.take()
        assert (message["event"], message["data"]["code"]) == ("pusher:error", 4009)
        assert client.client.user is None
        assert client.client.is_open

    run(test)


@on_a_server
async def test_a_sign_in_without_its_signature_is_refused(server: PusherServer) -> None:
    """P44: a subscription's signature is none."""
    client = connected(server)
    user_data = '{"id":"7"}'
    for text in (f"{client.socket_id}:user:{user_data}", f"1.1::user::{user_data}"):
        client.send("pusher:signin", {"user_data": user_data, "auth": auth_token(APP.key, APP.secret, text)})
        assert client.take()[0]["data"]["code"] == 4009
    assert not server.membership.is_online(APP.id, "7")


@on_a_server
async def test_a_connection_has_one_user(server: PusherServer) -> None:
    """P44: the same one may sign in again."""
    client = connected(server)
    client.sign_in(id="7")
    client.sign_in(id="7", watchlist=["8"])
    client.sign_in(id="8")
    assert client.events() == [
        "pusher:signin_success",
        "pusher:signin_success",
        "pusher_internal:watchlist_events",
        "pusher:error",
    ]
    client.client.leave()
    assert not server.membership.is_online(APP.id, "7")


@on_a_server
async def test_a_users_own_channel_is_that_users_alone(server: PusherServer) -> None:
    """P45, P46: it reaches all connections of the user, and counts as no channel."""
    ada, ada_too, bob = (connected(server) for _ in range(3))
    for client, user in ((ada, "ada"), (ada_too, "ada"), (bob, "bob")):
        client.subscribe("#server-to-user-ada", auth="")
        assert client.events() == ["pusher:subscription_error"]
        client.sign_in(id=user)
        client.take()
        client.subscribe("#server-to-user-ada", auth="")
    assert bob.events() == ["pusher:subscription_error"]
    assert ada.events() == ada_too.events() == ["pusher_internal:subscription_succeeded"]
    server.publish(APP, [api_event("#server-to-user-ada", data="hello")])
    assert ada.take() == ada_too.take() == [{"event": "happened", "channel": "#server-to-user-ada", "data": "hello"}]
    assert bob.take() == []
    assert server.membership.channels(APP.id) == []


@on_a_server
async def test_a_users_connections_can_be_terminated(server: PusherServer) -> None:
    """P47: those that are signed in; a member of a presence channel stays."""
    signed_in, member, other = (connected(server) for _ in range(3))
    signed_in.sign_in(id="7")
    member.join("presence-x", "7")
    other.sign_in(id="8")
    server.terminate_user(APP.id, "7")
    assert signed_in.outlet.code is TERMINATED
    assert 4000 <= TERMINATED.number < 4100
    assert member.client.is_open
    assert other.client.is_open


@on_a_server
async def test_a_watchlist_tells_who_is_online(server: PusherServer) -> None:
    """P49: at once, and when the first connection comes or the last one goes."""
    watcher, first, second = (connected(server) for _ in range(3))
    first.sign_in(id="ada")
    watcher.sign_in(id="eve", watchlist=["ada", "bob"])
    success, present = watcher.take()
    assert success["event"] == "pusher:signin_success"
    assert present == {
        "event": "pusher_internal:watchlist_events",
        "data": {"events": [{"name": "online", "user_ids": ["ada"]}, {"name": "offline", "user_ids": ["bob"]}]},
    }
    second.sign_in(id="ada")
    first.client.leave()
    assert watcher.take() == []
    second.client.leave()
    assert watcher.take()[0]["data"] == {"events": [{"name": "offline", "user_ids": ["ada"]}]}
    third = connected(server)
    third.sign_in(id="bob")
    assert watcher.take()[0]["data"] == {"events": [{"name": "online", "user_ids": ["bob"]}]}
    watcher.client.leave()
    third.client.leave()
    assert watcher.take() == []


@on_a_server
async def test_a_long_watchlist_is_cut(server: PusherServer) -> None:
    """P49."""
    watcher, watched, unwatched = (connected(server) for _ in range(3))
    watcher.sign_in(id="eve", watchlist=[str(k) for k in range(101)])
    _success, present, error = watcher.take()
    assert len(present["data"]["events"][0]["user_ids"]) == 100
    assert error["data"]["code"] == 4302
    unwatched.sign_in(id="100")
    watched.sign_in(id="99")
    assert watcher.take()[0]["data"] == {"events": [{"name": "online", "user_ids": ["99"]}]}


@on_a_server
async def test_watchlists_can_be_off(server: PusherServer) -> None:
    client = connected(server, replace(APP, has_watchlists=False))
    client.sign_in(id="eve", watchlist=[str(k) for k in range(101)])
    assert client.events() == ["pusher:signin_success"]


@on_a_server
async def test_nothing_is_kept_of_clients_that_have_gone(server: PusherServer) -> None:
    clients = [connected(server) for _ in range(3)]
    for k, client in enumerate(clients):
        client.sign_in(id=f"user-{k % 2}", watchlist=["user-0", "user-1", "user-2"])
        client.subscribe(f"#server-to-user-user-{k % 2}", auth="")
        client.join("presence-x", f"user-{k % 2}")
        subscribed(client, "news", "private-x")
    for client in clients:
        client.client.leave()
    assert server.connection_count == 0
    for user in ("user-0", "user-1", "user-2"):
        assert list(server.users.clients(APP.id, user)) == []
        assert server.users.watchers(APP.id, [user]) == {}
        assert not server.membership.is_online(APP.id, user)
    assert list(server.channels.names(APP.id)) == []
    assert server.membership.channels(APP.id) == []


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
