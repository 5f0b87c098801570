"""`relay`: what a project sends to its own groups reaches the pages that follow a topic."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import InMemoryChannelLayer, get_channel_layer
from channels_redis.core import RedisChannelLayer
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from telltale import brokers
from telltale.channels import group_of, relay, relaying
from telltale.channels.relaying import Route
from telltale.core.topics import InvalidTopic
from telltale.live import tickets
from telltale.live.driver import driver
from tests.channels.pages import HOOK, Page, cookies_of, run_with_page, until
from tests.channels.site_servers import ChannelsSite
from tests.factories import person
from tests.servers import Redis, running
from tests.transports.conftest import SocketClient, publishing_to_processes
from tests.transports.sites import wait_until

MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture(autouse=True)
def layer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.CHANNEL_LAYERS = MEMORY
    settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": HOOK}
    brokers.reset()
    monkeypatch.setattr(relaying, "_routes", {})
    monkeypatch.setattr(relaying, "LOOK_S", 0.1)
    monkeypatch.setattr(relaying, "RETRY_S", 0.1)
    yield
    connections.close_all()


def member(*rooms: str) -> list[tuple[bytes, bytes]]:
    """The headers of a person who may follow these topics."""
    ada = person()
    for room in rooms:
        ada.groups.add(Group.objects.create(name=room))
    return cookies_of(ada)[1]


async def send(group: str, **message: Any) -> None:
    await get_channel_layer().group_send(group, message)


async def listening(count: int) -> None:
    """Wait until this many groups are listened to and joined."""
    await until(lambda: len(get_channel_layer().groups) == count)


# Where messages go -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "topic", "followed", "expected"),
    [
        ("chat", "project:7", "project:7", "chat"),
        ("chat", "project:7", "project:77", None),
        ("room-{}", "room:{}", "room:7", "room-7"),
        ("room-{}", "room:{}", "rooms:7", None),
        ("room-{}", "room:a-{}-z", "room:a-7-z", "room-7"),
        ("room-{}", "room:a-{}-z", "room:a--z", None),
        ("room-{}", "room:{}", "room:ada@example.org", None),  # Nobody can send to such a group.
        (None, "room:{}", "room:ada@example.org", group_of("room:ada@example.org")),
        (None, "room:7", "room:7", group_of("room:7")),
    ],
)
def test_each_topic_has_the_group_that_its_pattern_says(group: Any, topic: str, followed: str, expected: Any) -> None:
    assert Route(topic=topic, group=group, event=None, layer="default").group_for(followed) == expected


@pytest.mark.parametrize(
    ("group", "topic", "error", "message"),
    [
        ("chat", "nonsense", InvalidTopic, "write kind:name"),
        ("chat", "telltale:x", InvalidTopic, "reserved"),
        ("chat room", "project:7", ValueError, "'chat room'.* is no name of a Channels group"),
        ("x" * 100, "project:7", ValueError, "fewer than 100"),
        ("chat", "project:{}", ValueError, "in both, or in neither"),
        ("chat-{}", "project:7", ValueError, "in both, or in neither"),
        ("chat-{}{}", "project:{}{}", ValueError, "once in both"),
    ],
)
def test_a_wrong_relay_is_refused_with_the_fix(group: str, topic: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        relay(group, topic=topic)
    assert relaying._routes == {}


def test_a_relay_over_a_layer_that_is_not_configured_is_refused(settings: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="CHANNEL_LAYERS has no layer 'other'"):
        relay("chat", topic="project:7", layer="other")
    settings.CHANNEL_LAYERS = {}
    with pytest.raises(ImproperlyConfigured, match="'default'"):
        relay("chat", topic="project:7")


def test_a_layer_in_memory_is_warned_of_except_in_development(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.DEBUG = True
    relay("chat", topic="project:7")
    assert caplog.text == ""
    settings.DEBUG = False
    relay("chat", topic="project:7")
    assert "in memory" in caplog.text
    assert "Use channels_redis" in caplog.text


# What arrives ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_message_to_a_group_is_an_event_for_the_followers_of_its_topic() -> None:
    relay("room-{}", topic="room:{}")
    relay("news", topic="room:7", event="headline")
    relay("room-{}", topic="room:{}")  # Twice is once.

    async def scenario(page: Page) -> None:
        await listening(2)
        await send("room-8", type="chat.message", text="for others")
        await send("room-7", type="chat.message", text="Hello")
        event = (await page.until(lambda m: "event" in m))["event"]
        assert event == {"topic": "room:7", "name": "chat.message", "data": {"text": "Hello"}}
        await send("news", type="news.item", title="Rain")
        event = (await page.until(lambda m: "event" in m))["event"]
        assert (event["name"], event["data"]) == ("headline", {"title": "Rain"})
        assert await page.silence(0.3)
        assert driver().counts["relayed"] == 2

    run_with_page("async", "room:7", member("room:7"), scenario)


@pytest.mark.django_db(transaction=True)
def test_a_layer_that_hangs_is_given_up_and_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "LAYER_S", 0.2)
    group_add, calls = InMemoryChannelLayer.group_add, []

    async def hang_once(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            await asyncio.Event().wait()
        await group_add(*arguments)

    monkeypatch.setattr(InMemoryChannelLayer, "group_add", hang_once)
    relay("room-{}", topic="room:{}")

    async def scenario(page: Page) -> None:
        await listening(1)
        await send("room-7", type="chat.message", text="Hello")
        await page.until(lambda m: "event" in m)

    run_with_page("async", "room:7", member("room:7"), scenario)


@pytest.mark.django_db(transaction=True)
def test_a_group_is_listened_to_only_while_its_topic_is_followed() -> None:
    relay(topic="room:{}")

    async def scenario(page: Page) -> None:
        groups = get_channel_layer().groups
        await listening(1)
        for _ in range(3):  # Also if a follower comes back at once.
            await page.send(unfollow=["room:7"])
            await page.send(follow=["room:7"])
        await listening(1)
        await send(group_of("room:7"), type="chat.message", text="Hello")
        await page.until(lambda m: "event" in m)
        await page.send(unfollow=["room:7"])
        await until(lambda: not groups)
        assert not relaying._listeners[driver()]
        await page.send(follow=["room:7"])
        await listening(1)

    run_with_page("async", "room:7", member("room:7"), scenario)


@pytest.mark.django_db(transaction=True)
def test_a_layer_that_gives_up_waiting_for_a_message_is_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    receive, failed = InMemoryChannelLayer.receive, []

    async def give_up_once(layer: Any, channel: str) -> Any:
        """As redis-py 8, 5 s after the last message."""
        if channel in layer.groups.get("room-7", ()) and not failed:
            failed.append(channel)
            raise TimeoutError
        return await receive(layer, channel)

    monkeypatch.setattr(relaying, "RETRY_S", 60.0)
    monkeypatch.setattr(InMemoryChannelLayer, "receive", give_up_once)
    relay("room-{}", topic="room:{}")

    async def scenario(page: Page) -> None:
        await until(lambda: failed)
        await send("room-7", type="chat.message", text="Hello")
        await page.until(lambda m: "event" in m)

    run_with_page("async", "room:7", member("room:7"), scenario)
    assert "Listening to the groups" not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_receive_that_goes_on_after_it_was_cancelled_keeps_no_group_deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    receive, ignored = InMemoryChannelLayer.receive, []

    async def ignore_once(layer: Any, channel: str) -> Any:
        """As `RedisChannelLayer`, when its connection is being opened."""
        try:
            return await receive(layer, channel)
        except asyncio.CancelledError:
            if ignored:
                raise
            ignored.append(channel)
            return await receive(layer, channel)

    monkeypatch.setattr(InMemoryChannelLayer, "receive", ignore_once)
    relay("room-{}", topic="room:{}")

    async def scenario(page: Page) -> None:
        await listening(1)
        await page.send(unfollow=["room:7"])
        await until(lambda: ignored)
        await page.send(follow=["room:7"])
        await until(lambda: set(get_channel_layer().groups.get("room-7", ())) - set(ignored))
        await send("room-7", type="chat.message", text="Hello")
        await page.until(lambda m: "event" in m)

    run_with_page("async", "room:7", member("room:7"), scenario)


@pytest.mark.django_db(transaction=True)
def test_the_membership_is_renewed_before_the_layer_forgets_it(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": MEMORY["default"] | {"CONFIG": {"group_expiry": 6}}}
    relay(topic="room:{}")

    def joined_at() -> float:
        """Since 1970; the layer forgets it `group_expiry` later."""
        [members] = get_channel_layer().groups.values()
        [joined_at] = members.values()
        return joined_at

    async def scenario(page: Page) -> None:
        await listening(1)
        first_joined_at = joined_at()
        await until(lambda: joined_at() > first_joined_at)
        assert joined_at() < first_joined_at + 6
        await send(group_of("room:7"), type="chat.message")
        await page.until(lambda m: "event" in m)
        get_channel_layer().groups.clear()  # As a layer that was restarted.
        await listening(1)
        await send(group_of("room:7"), type="chat.message")
        await page.until(lambda m: "event" in m)

    run_with_page("async", "room:7", member("room:7"), scenario)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "message", [{"data": b"bytes"}, {"text": "x" * 9_000}, {"n": float("nan")}, {"type": "x" * 300}]
)
def test_a_message_that_no_page_can_get_is_skipped_counted_and_logged_once(
    message: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    relay("room-{}", topic="room:{}")

    async def scenario(page: Page) -> None:
        await listening(1)
        for _ in range(3):
            await send("room-7", **({"type": "chat.message"} | message))
        await send("room-7", type="telltale.own", text="of Telltale")
        await until(lambda: driver().counts["relay refused"] == 3)
        await send("room-7", type="chat.message", text="Hello")
        assert (await page.until(lambda m: "event" in m))["event"]["data"] == {"text": "Hello"}
        assert driver().counts["relayed"] == 1

    run_with_page("async", "room:7", member("room:7"), scenario)
    assert caplog.text.count("Relaying a message of the group 'room-7' failed") == 1


@pytest.mark.django_db(transaction=True)
def test_more_groups_than_a_process_listens_to_are_counted_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relaying, "MAX_GROUPS", 2)
    relay("room-{}", topic="room:{}")
    rooms = [f"room:{n}" for n in range(5)]

    async def scenario(page: Page) -> None:
        await listening(2)
        assert driver().counts["unrelayed"] >= 3

    run_with_page("async", ",".join(rooms), member(*rooms), scenario)
    assert caplog.text.count("is not relayed") == 1


# Two processes and a real layer ------------------------------------------------------------------


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running(Redis) as server:
        yield server


@pytest.mark.service
@pytest.mark.django_db(transaction=True)
def test_the_end_of_a_listener_takes_no_message_of_another(
    redis: Redis, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `receive` of channels_redis that is cancelled can lose what it reads for another channel of the process."""
    address = {"address": redis.url, "socket_timeout": 30}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": BACKENDS["core"], "CONFIG": {"hosts": [address]}}}
    receive, cancelled = RedisChannelLayer.receive, []

    async def watched(layer: Any, channel: str) -> Any:
        try:
            return await receive(layer, channel)
        except asyncio.CancelledError:
            cancelled.append(channel)
            raise

    monkeypatch.setattr(RedisChannelLayer, "receive", watched)
    relay("room-{}", topic="room:{}")

    async def scenario(page: Page) -> None:
        await until(lambda: len(relaying._listeners[driver()]) == 2)
        for _ in range(3):
            await page.send(unfollow=["room:7"])
            await until(lambda: len(relaying._listeners[driver()]) == 1)
            await page.send(follow=["room:7"])
        assert cancelled == []

    run_with_page("async", "room:7,room:8", member("room:7", "room:8"), scenario)


BACKENDS = {"core": "channels_redis.core.RedisChannelLayer", "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer"}


@pytest.fixture(params=list(BACKENDS))
def sites(request: pytest.FixtureRequest, redis: Redis, settings: Any, transactional_db: None) -> Iterator[Any]:
    """Two web processes, and a project that sends through the same layer."""
    backend = BACKENDS[request.param]
    address = {"address": redis.url, "socket_timeout": 30}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [address]}}}
    env = {"CHANNELS_REDIS": redis.url, "CHANNELS_BACKEND": backend}
    with ExitStack() as stack, publishing_to_processes():
        yield [
            stack.enter_context(
                running(lambda directory, s=server: ChannelsSite.serving(directory, s, "around", **env))
            )
            for server in ("daphne", "uvicorn")
        ]


def send_to_room(text: str) -> None:
    async_to_sync(get_channel_layer().group_send)("room-7", {"type": "chat.message", "text": text})


def texts(client: SocketClient) -> list[str]:
    events = [event for message in client.messages for event in message.get("events", ())]
    return [event["data"]["text"] for event in events]


def receives(client: SocketClient, text: str) -> bool:
    """Whether the text came; it is sent again until it does."""
    send_to_room(text)
    client.messages_within(0.3)
    return text in texts(client)


def receives_last(client: SocketClient) -> bool:
    client.messages_within(0.1)
    return texts(client)[-1] == "text 19"


@pytest.mark.service
def test_every_web_process_hears_a_message_once_also_after_the_layer_was_restarted(sites: Any, redis: Redis) -> None:
    clients = [SocketClient(site, tickets.issue(["room:7"])) for site in sites for _ in range(2)]
    try:
        for client in clients:
            client.message("hello")
            wait_until(lambda client=client: receives(client, "ready"), "the page gets what is sent to the group")
        for n in range(20):
            send_to_room(f"text {n}")
            time.sleep(0.02)
        for client in clients:
            wait_until(lambda client=client: receives_last(client), "the page gets the last message")
            assert [text for text in texts(client) if text != "ready"] == [f"text {n}" for n in range(20)]
        redis.stop(signal.SIGKILL)
        time.sleep(1.0)
        redis.start()
        for client in clients:
            wait_until(lambda client=client: _receives_again(client), "the page gets messages again", 45)
    finally:
        for client in clients:
            client.close()
    for site in sites:
        assert "src/telltale/" not in site.output(), site.output()


def _receives_again(client: SocketClient) -> bool:
    try:
        return receives(client, "again")
    except (ConnectionError, OSError):
        return False
