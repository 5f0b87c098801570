"""Events that clients send each other."""

import json
from typing import Any

import pytest

from tests.pusher.clients.apps import GENEROUS, MUTE, OTHER
from tests.pusher.clients.conftest import Connect, Join, Name, Start
from tests.pusher.clients.raw import RawClient
from tests.pusher.clients.signing import Api


def refused(client: RawClient, code: int | None = None) -> str:
    """Return the error's message; the connection stays."""
    message = client.expect("pusher:error")
    assert isinstance(message["data"], dict)
    if code is not None:
        assert message["data"]["code"] == code, message
    client.expect_silence()
    return str(message["data"]["message"])


@pytest.mark.parametrize(
    "data", [{"x": 1, "y": [None, True]}, "text", '{"json": 1}', 7, None, [1, "ÆØÅ"], {}, ""], ids=repr
)
def test_a_client_event_reaches_all_others_with_its_data_unchanged(join: Join, name: Name, data: Any) -> None:
    """P37: an object stays an object, and a string a string."""
    channel = name("private-")
    sender, one, two = (join(channel) for _ in range(3))
    sender.send_text(json.dumps({"event": "client-typing", "channel": channel, "data": data}))
    for client in (one, two):
        assert client.message() == {"event": "client-typing", "channel": channel, "data": data}
    sender.expect_silence()


def test_client_events_keep_their_order_among_events(join: Join, main: Api, name: Name) -> None:
    """P37, P16."""
    channel = name("private-")
    sender, other = join(channel), join(channel)
    for number in range(8):
        sender.send("client-e", number, channel=channel)
    assert [other.expect("client-e")["data"] for _ in range(8)] == list(range(8))


def test_public_channels_have_no_client_events(join: Join, main: Api, name: Name) -> None:
    """P38."""
    channel = name("news-")
    sender, other = join(channel), join(channel)
    sender.send("client-e", 1, channel=channel)
    assert refused(sender)
    main.publish("last", channel, "x")
    other.expect("last")


def test_a_channel_that_one_is_not_in_is_refused(join: Join, connect: Connect, main: Api, name: Name) -> None:
    """P38: never joined, left, or refused."""
    channel = name("private-")
    other, stranger, leaver = join(channel), connect(), join(channel)
    stranger.send("client-e", 1, channel=channel)
    assert refused(stranger)
    leaver.send("pusher:unsubscribe", {"channel": channel})
    leaver.send("client-e", 1, channel=channel)
    assert refused(leaver)
    stranger.subscribe(channel, "nonsense")
    stranger.send("client-e", 1, channel=channel)
    assert refused(stranger)
    main.publish("last", channel, "x")
    other.expect("last")


@pytest.mark.parametrize("event", ["typing", "Client-typing", "client_typing", "clientele"])
def test_a_name_without_the_prefix_is_not_relayed(join: Join, main: Api, name: Name, event: str) -> None:
    """P38."""
    channel = name("private-")
    sender, other = join(channel), join(channel)
    sender.send(event, 1, channel=channel)
    main.publish("last", channel, "x")
    other.expect("last")
    sender.until("last")


def test_an_app_without_client_events_refuses_them(join: Join, name: Name, api: Any) -> None:
    """P38: with 4301."""
    channel = name("private-")
    sender, other = join(channel, app=MUTE), join(channel, app=MUTE)
    sender.send("client-e", 1, channel=channel)
    assert "client events" in refused(sender, 4301).lower()
    api(MUTE).publish("last", channel, "x")
    other.expect("last")


def test_no_channel_is_an_error(join: Join, name: Name) -> None:
    """P38."""
    client = join(name("private-"))
    client.send("client-e", 1)
    assert refused(client)


def test_on_presence_channels_the_senders_id_is_added(join: Join, name: Name) -> None:
    """P39: from the authorised data."""
    channel = name("presence-")
    other, sender = join(channel, "bob"), join(channel, "ada")
    other.expect("pusher_internal:member_added")
    sender.send("client-e", {"n": 1}, channel=channel)
    assert other.message() == {"event": "client-e", "channel": channel, "data": {"n": 1}, "user_id": "ada"}


def test_a_sender_cannot_pretend_to_be_another(join: Join, name: Name) -> None:
    """P39: only the known fields are relayed, on presence channels and on private ones."""
    presence, private = name("presence-"), name("private-")
    other, sender = join(presence, "bob"), join(presence, "ada")
    other.expect("pusher_internal:member_added")
    for client in (other, sender):
        join(private, client=client)
    for channel in (presence, private):
        sender.send("client-e", 1, channel=channel, user_id="bob", socket_id="1.1", extra={"x": 1})
        expected = {"event": "client-e", "channel": channel, "data": 1}
        assert other.message() == (expected | {"user_id": "ada"} if channel == presence else expected)


def test_more_than_ten_client_events_a_second_are_dropped(join: Join, main: Api, name: Name) -> None:
    """P40, P8: with 4301; the connection lives."""
    channel = name("private-")
    sender, other = join(channel), join(channel)
    for number in range(200):
        sender.send("client-e", number, channel=channel)
    sender.send("pusher:ping")
    errors = []
    while (message := sender.message())["event"] != "pusher:pong":
        assert message["event"] == "pusher:error"
        assert message["data"]["code"] == 4301
        errors.append(message)
    main.publish("last", channel, "x")
    relayed = []
    while (message := other.message())["event"] != "last":
        relayed.append(message["data"])
    assert relayed[:10] == list(range(10))
    assert len(relayed) + len(errors) == 200
    assert len(relayed) < 150


def test_large_client_events_are_refused(join: Join, main: Api, name: Name) -> None:
    """P41: more than 10 kB of data, or a name of more than 200 characters."""
    channel = name("private-")
    sender, other = join(channel), join(channel)
    sender.send("client-e", "x" * 10_241, channel=channel)
    assert "10" in refused(sender, 4301)
    sender.send("client-" + "x" * 194, 1, channel=channel)
    assert refused(sender, 4301)
    sender.send("client-" + "x" * 193, "y" * 10_000, channel=channel)
    assert other.message()["data"] == "y" * 10_000


def test_the_limit_of_size_is_the_apps_own(join: Join, name: Name) -> None:
    """P41, P57."""
    channel = name("private-")
    sender, other = join(channel, app=GENEROUS), join(channel, app=GENEROUS)
    sender.send("client-e", "x" * 40_000, channel=channel)
    assert other.expect("client-e")["data"] == "x" * 40_000


def test_another_apps_channel_of_the_same_name_hears_nothing(join: Join, api: Any, name: Name) -> None:
    """Nothing leaks across apps."""
    channel = name("private-")
    sender, foreign = join(channel), join(channel, app=OTHER)
    sender.send("client-e", 1, channel=channel)
    sender.expect_silence()
    api(OTHER).publish("last", channel, "x")
    foreign.expect("last")
    foreign.expect_silence()


def test_pusher_js_triggers_client_events(js: Start, name: Name) -> None:
    """P42, P37, P39: `channel.trigger`."""
    channel = name("presence-")
    ada, bob = js(user="ada"), js(user="bob")
    for client in (ada, bob):
        client.call("subscribe", channel=channel)
        client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    bob.call("bind", channel=channel, event="client-typing")
    assert ada.call("trigger", channel=channel, event="client-typing", data={"text": "ÆØÅ"}) is True
    heard = bob.wait(kind="bound", event="client-typing")
    assert heard["data"] == {"text": "ÆØÅ"}
    assert heard["metadata"] == {"user_id": "ada"}
    assert ada.seen(kind="channel", event="client-typing") == []


def test_pusher_js_sees_the_error_of_a_refused_client_event(js: Start, name: Name) -> None:
    """P38, P8: and stays connected."""
    client, channel = js(app=MUTE), name("private-")
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    client.call("trigger", channel=channel, event="client-e", data={})
    assert client.wait(kind="error")["error"]["data"]["code"] == 4301
    assert client.call("state") == "connected"


def test_an_event_of_the_api_can_leave_out_the_client_that_caused_it(join: Join, main: Api, name: Name) -> None:
    """P55, P37: by its socket id."""
    channel = name("private-")
    sender, other = join(channel), join(channel)
    main.publish("e", channel, "x", socket_id=sender.socket_id)
    main.publish("last", channel, "x", socket_id="1234.5678")
    other.expect("e")
    sender.expect("last")
