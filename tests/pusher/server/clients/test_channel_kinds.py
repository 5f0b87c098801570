"""The rules of private, presence and cache channels, and the numbers of subscribers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from telltale.pusher.protocol.close_codes import (
    RECONNECT,
)
from telltale.pusher.protocol.signatures import auth_token, subscription_text
from telltale.pusher.pusher_apps import AppLimits
from telltale.pusher.server.clients import announcements
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.local_clients import APP, OTHER_APP, api_event, connected, on_a_server, run, until

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
