"""Presence channels: their members join and leave."""

import json
from typing import Any

import pytest

from tests.pusher.clients.apps import MAIN, OTHER
from tests.pusher.clients.conftest import Connect, Join, Name, Start
from tests.pusher.clients.raw import RawClient
from tests.pusher.clients.signing import Api, channel_auth
from tests.pusher.clients.users import signed_in


def present(client: RawClient, channel: str, channel_data: str) -> dict[str, Any]:
    """Subscribe with this signed data, and return the answer."""
    return client.subscribe(channel, channel_auth(MAIN, client.socket_id, channel, channel_data), channel_data)


def presence_of(answer: dict[str, Any]) -> dict[str, Any]:
    assert answer["event"] == "pusher_internal:subscription_succeeded", answer
    assert isinstance(answer["data"], str)
    return dict(json.loads(answer["data"])["presence"])


def test_the_answer_lists_all_members_oneself_included(connect: Connect, name: Name) -> None:
    """P26, P27."""
    channel = name("presence-")
    first = presence_of(present(connect(), channel, '{"user_id":"ada","user_info":{"name":"Ada"}}'))
    assert first == {"ids": ["ada"], "hash": {"ada": {"name": "Ada"}}, "count": 1}
    second = presence_of(present(connect(), channel, '{"user_id":"bob"}'))
    assert sorted(second["ids"]) == ["ada", "bob"]
    assert second["hash"] == {"ada": {"name": "Ada"}, "bob": None}
    assert second["count"] == 2


def test_numeric_ids_become_strings(connect: Connect, name: Name) -> None:
    """P27: as keys of JSON objects they cannot stay numbers; 7 and "7" are one user."""
    channel = name("presence-")
    assert presence_of(present(connect(), channel, '{"user_id":7}'))["ids"] == ["7"]
    assert presence_of(present(connect(), channel, '{"user_id":"7"}'))["count"] == 1


def test_others_see_a_user_join_once_and_leave_once(join: Join, name: Name) -> None:
    """P28: the first connection joins, the last one leaves, in whichever way."""
    channel = name("presence-")
    watcher = join(channel, "watcher")
    first, second, third = (join(channel, "ada") for _ in range(3))
    added = watcher.expect("pusher_internal:member_added")
    assert added["channel"] == channel
    assert json.loads(added["data"]) == {"user_id": "ada", "user_info": {"name": "Ada"}}
    first.send("pusher:unsubscribe", {"channel": channel})
    first.expect_silence()
    second.close()
    watcher.expect_silence()
    third.vanish()
    removed = watcher.expect("pusher_internal:member_removed")
    assert json.loads(removed["data"]) == {"user_id": "ada"}
    watcher.expect_silence()


def test_the_joining_client_is_not_told_of_itself(join: Join, name: Name) -> None:
    """P28."""
    channel = name("presence-")
    join(channel, "ada").expect_silence()
    join(channel, "ada").expect_silence()


def test_a_user_who_leaves_by_unsubscribing_is_removed(join: Join, name: Name) -> None:
    """P28."""
    channel = name("presence-")
    watcher, leaver = join(channel, "watcher"), join(channel, "ada")
    watcher.expect("pusher_internal:member_added")
    leaver.send("pusher:unsubscribe", {"channel": channel})
    assert json.loads(watcher.expect("pusher_internal:member_removed")["data"]) == {"user_id": "ada"}
    leaver.expect_silence()


@pytest.mark.parametrize(
    "channel_data",
    [
        "{}",
        "[]",
        "7",
        "null",
        '"ada"',
        "not json",
        '{"user_info":{}}',
        '{"user_id":null}',
        '{"user_id":""}',
        '{"user_id":{}}',
        '{"user_id":["a"]}',
        "[" * 10_000,
    ],
)
def test_signed_data_without_a_user_is_refused(connect: Connect, name: Name, channel_data: str) -> None:
    """P26: the connection stays."""
    client, channel = connect(), name("presence-")
    answer = present(client, channel, channel_data)
    assert answer["event"] == "pusher:subscription_error", answer
    assert answer["channel"] == channel
    client.expect_silence()


def test_a_signed_in_user_needs_no_channel_data(connect: Connect, name: Name) -> None:
    """P26: the id and `user_info` of the sign-in stand in."""
    user, channel = name("user-"), name("presence-")
    client = signed_in(connect(), user, user_info={"name": "Ada"})
    answer = client.subscribe(channel, channel_auth(MAIN, client.socket_id, channel))
    assert presence_of(answer) == {"ids": [user], "hash": {user: {"name": "Ada"}}, "count": 1}


def test_the_hundred_and_first_member_is_refused(join: Join, connect: Connect, name: Name) -> None:
    """P29: a member that is there already may join with another connection."""
    channel = name("presence-")
    members = [join(channel, f"user-{number}") for number in range(100)]
    assert len(members) == 100
    client = connect()
    answer = present(client, channel, '{"user_id":"one too many"}')
    assert answer["event"] == "pusher:subscription_error"
    assert answer["data"]["status"] == 4100
    assert "100" in answer["data"]["error"]
    join(channel, "user-7")
    client.expect_silence()


def test_limits_of_user_ids_and_of_user_data(connect: Connect, name: Name) -> None:
    """P29: 128 characters, and 1 kB."""
    channel = name("presence-")
    present_, refused = "pusher_internal:subscription_succeeded", "pusher:subscription_error"
    attempts = [
        ({"user_id": "x" * 128}, present_),
        ({"user_id": "x" * 129}, refused),
        ({"user_id": "a", "user_info": "x" * 900}, present_),
        ({"user_id": "b", "user_info": "x" * 1_100}, refused),
    ]
    for data, event in attempts:
        client = connect()
        assert present(client, channel, json.dumps(data))["event"] == event, data
        client.send("pusher:ping")
        client.until("pusher:pong")


def test_members_are_those_of_ones_own_app(join: Join, name: Name) -> None:
    """Nothing leaks across apps: the same channel in another app is another channel."""
    channel = name("presence-")
    here = join(channel, "ada")
    there = join(channel, "bob", OTHER)
    here.expect_silence()
    there.close()
    here.expect_silence()


def test_pusher_js_knows_the_members(js: Start, name: Name) -> None:
    """P26, P27, P28."""
    channel = name("presence-")
    ada, bob = js(user="ada"), js(user="bob")
    ada.call("subscribe", channel=channel)
    ada.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    bob.call("subscribe", channel=channel)
    bob.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    added = ada.wait(kind="channel", channel=channel, event="pusher:member_added")["data"]
    assert added == {"id": "bob", "info": {"name": "Bob"}}
    members = bob.call("members", channel=channel)
    assert members["count"] == 2
    assert members["me"] == {"id": "bob", "info": {"name": "Bob"}}
    assert members["members"] == {"ada": {"name": "Ada"}, "bob": {"name": "Bob"}}
    bob.call("unsubscribe", channel=channel)
    removed = ada.wait(kind="channel", channel=channel, event="pusher:member_removed")["data"]
    assert removed == {"id": "bob", "info": {"name": "Bob"}}
    assert ada.call("members", channel=channel)["count"] == 1


def test_a_presence_channel_needs_a_signature(connect: Connect, name: Name) -> None:
    """P23, P26: channel data alone is nothing."""
    client, channel = connect(), name("presence-")
    client.ask_for(channel, None, '{"user_id":"ada"}')
    client.refusal(channel)


def test_the_http_api_counts_and_lists_the_members(join: Join, main: Api, name: Name) -> None:
    """P61, P62, P63: distinct users."""
    channel = name("presence-")
    clients = [join(channel, user) for user in ("ada", "ada", "bob")]
    users = main.get(f"channels/{channel}/users").json()["users"]
    assert sorted(user["id"] for user in users) == ["ada", "bob"]
    assert main.get(f"channels/{channel}", info="user_count").json() == {"occupied": True, "user_count": 2}
    listed = main.get("channels", filter_by_prefix=channel, info="user_count").json()
    assert listed == {"channels": {channel: {"user_count": 2}}}
    assert len(clients) == 3
