"""Public channels: subscriptions, names, the order of events."""

from typing import Any

import pytest

from tests.pusher.clients.conftest import Connect, Join, Name, Start
from tests.pusher.clients.raw import RawClient
from tests.pusher.clients.signing import Api
from tests.transports.sites import wait_until


def test_a_subscription_is_answered(connect: Connect, name: Name) -> None:
    """P14, P15: with an empty signature too, as pusher-js sends it."""
    client, channel = connect(), name("news-")
    expected = {"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}
    assert client.subscribe(channel) == expected
    another = name("news-")
    assert client.subscribe(another, auth="") == {**expected, "channel": another}


@pytest.mark.parametrize(
    "data",
    ["", "text", '"json"', '{"a": 1,  "b":[ ]}', "7", "null", "ÆØÅ 😀   \\u0000 </script>", '{"bad": json'],
    ids=repr,
)
def test_an_events_data_arrives_as_it_was_published(join: Join, main: Api, name: Name, data: str) -> None:
    """P16: the same string, JSON or not."""
    channel = name("news-")
    client = join(channel)
    main.publish("happened", channel, data)
    assert client.message() == {"event": "happened", "channel": channel, "data": data}


def test_events_arrive_in_the_order_in_which_they_were_published(join: Join, main: Api, name: Name) -> None:
    """P16, for single events and batches mixed."""
    channel = name("news-")
    clients = [join(channel) for _ in range(3)]
    published = []
    for number in range(20):
        if number % 5 == 0:
            batch = [{"name": "e", "channel": channel, "data": f"{number}.{part}"} for part in range(10)]
            assert main.post("batch_events", {"batch": batch}).status_code == 200
            published += [event["data"] for event in batch]
        else:
            main.publish("e", channel, str(number))
            published.append(str(number))
    for client in clients:
        assert [client.expect("e")["data"] for _ in published] == published


@pytest.mark.parametrize("name_", ["a", "A-z_0=9@x,y.z;", "0", "x" * 164])
def test_channel_names_of_the_documented_form_are_accepted(connect: Connect, name_: str) -> None:
    """P17."""
    assert connect().subscribe(name_)["event"] == "pusher_internal:subscription_succeeded"


@pytest.mark.parametrize(
    "name_", [" ", "a b", "a/b", "a:b", "a\n", "a?", "é", "😀", "x" * 201, "#news", "#server-to-user-7", "a#b"]
)
def test_other_channel_names_are_refused_by_name(connect: Connect, name_: str) -> None:
    """P17: pusher-js hands the error to the channel's own handlers. The connection stays."""
    client = connect()
    answer = client.subscribe(name_)
    assert (answer["event"], answer["channel"]) == ("pusher:subscription_error", name_)
    assert "channel" in answer["data"]["error"]
    client.expect_silence()


@pytest.mark.parametrize("channel", ["", None, 7, ["a"], {}])
def test_a_subscription_without_a_channels_name_is_an_error(connect: Connect, channel: Any) -> None:
    """P17, P12."""
    client = connect()
    client.send("pusher:subscribe", {"channel": channel})
    assert "channel" in client.expect("pusher:error")["data"]["message"]
    client.expect_silence()


def test_a_second_subscription_brings_no_second_copy(join: Join, main: Api, name: Name) -> None:
    """P18: and is told so in the words of the hosted service."""
    channel = name("news-")
    client = join(channel)
    message = {"code": None, "message": f"Existing subscription to channel {channel}"}
    assert client.subscribe(channel) == {"event": "pusher:error", "data": message}
    main.publish("e", channel, "1")
    main.publish("e", channel, "2")
    assert [client.expect("e")["data"] for _ in range(2)] == ["1", "2"]


def test_after_leaving_a_channel_nothing_comes_from_it(join: Join, main: Api, name: Name) -> None:
    """P19: no answer to it either."""
    channel, other = name("news-"), name("news-")
    client = join(channel)
    join(other, client=client)
    client.send("pusher:unsubscribe", {"channel": channel})
    client.expect_silence()
    main.publish("e", channel, "unheard")
    main.publish("e", other, "heard")
    assert client.expect("e")["data"] == "heard"
    assert client.subscribe(channel)["event"] == "pusher_internal:subscription_succeeded"


@pytest.mark.parametrize("channel", ["never-joined", "private-never", "presence-never", "#x", "a b"])
def test_leaving_a_channel_that_one_is_not_in_is_harmless(connect: Connect, channel: str) -> None:
    """P19."""
    client = connect()
    client.send("pusher:unsubscribe", {"channel": channel})
    client.send("pusher:ping")
    assert client.message()["event"] in {"pusher:pong", "pusher:error"}


def test_a_connection_may_be_in_hundreds_of_channels_and_leaves_them_all(
    join: Join, connect: Connect, main: Api, name: Name
) -> None:
    """P20."""
    prefix = name("many-") + "-"
    client = connect()
    channels = [f"{prefix}{number}" for number in range(300)]
    for channel in channels:
        client.ask_for(channel)
    assert [client.message()["channel"] for _ in channels] == channels
    assert set(main.get("channels", filter_by_prefix=prefix).json()["channels"]) == set(channels)
    client.close()
    wait_until(lambda: main.get("channels", filter_by_prefix=prefix).json() == {"channels": {}}, "all are left")


def test_a_client_that_reads_nothing_delays_no_other(join: Join, main: Api, name: Name) -> None:
    """P16: its own memory on the server is bounded, so it is closed in the end."""
    channel = name("news-")
    silent: RawClient = join(channel)
    other = join(channel)
    for number in range(50):
        main.publish("e", channel, f"{number}" + "x" * 9_000)
        assert other.expect("e")["data"].startswith(str(number))
    silent.close()


def test_pusher_js_receives_events_and_parses_json(js: Start, main: Api, name: Name) -> None:
    """P14, P15, P16, P19."""
    client, channel = js(), name("news-")
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    main.publish("happened", channel, {"text": "hello"})
    assert client.wait(kind="channel", event="happened")["data"] == {"text": "hello"}
    client.call("unsubscribe", channel=channel)
    wait_until(lambda: not main.get(f"channels/{channel}").json()["occupied"], "the channel is left")
    main.publish("happened", channel, {"text": "unheard"})
    other = name("news-")
    client.call("subscribe", channel=other)
    client.wait(kind="channel", channel=other, event="pusher:subscription_succeeded")
    main.publish("happened", other, {"text": "last"})
    client.wait(kind="channel", channel=other, event="happened")
    assert client.seen(kind="message", event="happened", channel=channel, data={"text": "unheard"}) == []


def test_pusher_js_may_subscribe_before_it_is_connected_and_twice(js: Start, main: Api, name: Name) -> None:
    """P14, P18: pusher-js itself sends one subscription."""
    client, channel = js(), name("news-")
    client.call("subscribe", channel=channel)
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    main.publish("happened", channel, "once")
    main.publish("last", channel, "x")
    client.wait(kind="channel", event="last")
    assert len(client.seen(kind="channel", event="happened")) == 1
