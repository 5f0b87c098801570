"""Cache channels, and counts of subscribers."""

import json
from typing import Any

import pytest

from tests.pusher.clients.apps import COUNTING, MAIN
from tests.pusher.clients.conftest import Connect, Join, Name, Start
from tests.pusher.clients.signing import Api

KINDS = ["cache-", "private-cache-", "private-encrypted-cache-", "presence-cache-"]


def user_on(channel: str) -> str:
    return "ada" if channel.startswith("presence-") else ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_channel_without_an_event_says_so(join: Join, name: Name, kind: str) -> None:
    """P30."""
    channel = name(kind)
    client = join(channel, user_on(channel))
    assert client.message() == {"event": "pusher:cache_miss", "channel": channel}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_channel_sends_its_last_event_right_after_the_answer(
    join: Join, main: Api, name: Name, kind: str
) -> None:
    """P30: also to the first subscriber, and only the last one."""
    channel = name(kind)
    main.publish("first", channel, "1")
    main.publish("second", channel, "2")
    client = join(channel, user_on(channel))
    assert client.message() == {"event": "second", "channel": channel, "data": "2"}
    client.expect_silence()
    main.publish("third", channel, "3")
    assert client.expect("third")["data"] == "3"


def test_batches_and_events_to_several_channels_are_kept_too(join: Join, main: Api, name: Name) -> None:
    """P30."""
    one, two = name("cache-"), name("cache-")
    main.post("events", {"name": "e", "channels": [one, two], "data": "both"})
    main.post("batch_events", {"batch": [{"name": "e", "channel": two, "data": "batch"}]})
    assert join(one).expect("e")["data"] == "both"
    assert join(two).expect("e")["data"] == "batch"


def test_client_events_are_not_kept(join: Join, name: Name) -> None:
    """P30."""
    channel = name("private-cache-")
    sender, other = join(channel), join(channel)
    for client in (sender, other):
        client.expect("pusher:cache_miss")
    sender.send("client-e", "x", channel=channel)
    other.expect("client-e")
    join(channel).expect("pusher:cache_miss")


def test_other_channels_keep_nothing(join: Join, main: Api, name: Name) -> None:
    """P30: the prefix must be at the beginning."""
    for channel in (name("news-"), name("news-cache-"), name("private-")):
        main.publish("e", channel, "x")
        join(channel).expect_silence()


def test_the_http_api_shows_what_is_kept(main: Api, join: Join, name: Name) -> None:
    """P62: `data` and `ttl`, or null."""
    channel, empty = name("cache-"), name("cache-")
    main.publish("e", channel, '{"a": 1}')
    client = join(channel)
    client.expect("e")
    kept = main.get(f"channels/{channel}", info="cache").json()["cache"]
    assert kept["data"] == '{"a": 1}'
    assert 0 < kept["ttl"] <= 1_800
    assert main.get(f"channels/{empty}", info="cache").json()["cache"] is None


def test_pusher_js_gets_the_last_event_or_hears_that_there_is_none(js: Start, main: Api, name: Name) -> None:
    """P30."""
    channel, empty = name("cache-"), name("private-cache-")
    main.publish("happened", channel, {"n": 1})
    client = js()
    client.call("subscribe", channel=channel)
    assert client.wait(kind="channel", channel=channel, event="happened")["data"] == {"n": 1}
    client.call("subscribe", channel=empty)
    client.wait(kind="channel", channel=empty, event="pusher:cache_miss")


def count_of(message: dict[str, Any], channel: str) -> int:
    assert message["event"] == "pusher_internal:subscription_count", message
    assert message["channel"] == channel
    return int(json.loads(message["data"])["subscription_count"])


def test_an_app_that_wants_counts_tells_all_on_the_channel(join: Join, name: Name) -> None:
    """P31: after each subscription and unsubscription."""
    channel = name("news-")
    first = join(channel, app=COUNTING)
    assert count_of(first.message(), channel) == 1
    second = join(channel, app=COUNTING)
    assert count_of(second.message(), channel) == 2
    assert count_of(first.message(), channel) == 2
    second.send("pusher:unsubscribe", {"channel": channel})
    assert count_of(first.message(), channel) == 1


def test_presence_channels_have_no_subscription_counts(join: Join, name: Name) -> None:
    """P31."""
    channel = name("presence-")
    first, second = join(channel, "ada", COUNTING), join(channel, "ada", COUNTING)
    first.expect_silence()
    second.expect_silence()


def test_other_apps_get_no_counts(join: Join, name: Name) -> None:
    """P31: off by default."""
    channel = name("news-")
    first, second = join(channel, app=MAIN), join(channel, app=MAIN)
    first.expect_silence()
    second.expect_silence()


def test_counts_of_large_channels_come_rarely(join: Join, name: Name) -> None:
    """P31: above 100 subscribers not after each subscription."""
    channel = name("news-")
    first = join(channel, app=COUNTING)
    others = [join(channel, app=COUNTING) for _ in range(119)]
    first.send("pusher:ping")
    counts = []
    while (message := first.message())["event"] != "pusher:pong":
        counts.append(count_of(message, channel))
    assert counts[:100] == list(range(1, 101))
    assert len(counts) < 110
    assert count_of(first.message(), channel) == 120, "After some seconds the newest count comes."
    assert len(others) == 119


def test_pusher_js_knows_the_subscription_count(js: Start, join: Join, name: Name) -> None:
    """P31."""
    channel = name("news-")
    client = js(app=COUNTING)
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", event="pusher:subscription_count", data={"subscription_count": 1})
    join(channel, app=COUNTING)
    client.wait(kind="channel", event="pusher:subscription_count", data={"subscription_count": 2})
    assert client.call("subscription_count", channel=channel) == 2


def test_the_http_api_counts_connections(join: Join, connect: Connect, main: Api, name: Name) -> None:
    """P59, P62: connections, and not users; not for presence channels."""
    channel = name("news-")
    clients = [join(channel) for _ in range(3)]
    answer = main.get(f"channels/{channel}", info="subscription_count").json()
    assert answer == {"occupied": True, "subscription_count": 3}
    assert len(clients) == 3
