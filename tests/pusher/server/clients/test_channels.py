"""The fan-out to subscribers in this process: slices, order, turns, and the bound of what waits."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from telltale.core.hub import SLICE
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients import channels as module
from telltale.pusher.server.clients.channels import LocalChannels
from telltale.pusher.server.clients.client import PusherClient
from tests.pusher.server.local_clients import APP, OTHER_APP, PATIENCE_S, Host, KeepingOutlet, until


def client_of(app: PusherApp = APP) -> tuple[PusherClient, list[str]]:
    """A client, and the texts that are written to it."""
    outlet = KeepingOutlet()
    return PusherClient(Host(), app, outlet, "1.2", ""), outlet.texts  # type: ignore[arg-type]


def many(count: int, channels: LocalChannels, channel: str) -> list[list[str]]:
    """Subscribe this many clients; return what each receives."""
    clients = [client_of() for _ in range(count)]
    for client, _texts in clients:
        channels.add(client, channel)
    return [texts for _client, texts in clients]


def in_a_loop(test: Callable[[LocalChannels], Awaitable[None]]) -> None:
    async def run() -> None:
        await test(LocalChannels())

    asyncio.run(run())


def test_the_first_and_the_last_subscriber_are_told_apart() -> None:
    async def test(channels: LocalChannels) -> None:
        (a, _), (b, _) = client_of(), client_of()
        assert channels.add(a, "x") is True
        assert channels.add(b, "x") is False
        assert channels.remove(a, "x") is False
        assert channels.remove(a, "x") is False
        assert channels.remove(b, "x") is True
        assert list(channels.names(APP.id)) == []

    in_a_loop(test)


def test_a_message_reaches_the_subscribers_of_its_channel_and_app_alone() -> None:
    """Apps never hear of each other, whatever the names of their channels."""

    async def test(channels: LocalChannels) -> None:
        clients = {"x": client_of(), "y": client_of(), "other app": client_of(OTHER_APP)}
        channels.add(clients["x"][0], "x")
        channels.add(clients["y"][0], "y")
        channels.add(clients["other app"][0], "x")
        channels.send(APP.id, "x", "hello")
        channels.send(APP.id, "empty", "hello")
        assert [texts for _client, texts in clients.values()] == [["hello"], [], []]

    in_a_loop(test)


def test_a_small_channel_is_written_to_at_once() -> None:
    async def test(channels: LocalChannels) -> None:
        received = many(3, channels, "x")
        channels.send(APP.id, "x", "hello")
        assert received == [["hello"]] * 3

    in_a_loop(test)


def test_one_client_can_be_left_out() -> None:
    """P55."""

    async def test(channels: LocalChannels) -> None:
        (a, texts_a), (b, texts_b) = client_of(), client_of()
        channels.add(a, "x")
        channels.add(b, "x")
        channels.send(APP.id, "x", "hello", without=a)
        assert (texts_a, texts_b) == ([], ["hello"])

    in_a_loop(test)


def test_a_large_channel_is_written_to_in_slices_between_which_other_work_is_done() -> None:
    async def test(channels: LocalChannels) -> None:
        received = many(10 * SLICE, channels, "x")
        channels.send(APP.id, "x", "hello")
        counts = []
        while not counts or counts[-1] < len(received):
            await asyncio.sleep(0)
            counts.append(sum(map(len, received)))
        steps = [after - before for before, after in zip([0, *counts], counts, strict=False)]
        assert max(steps) <= SLICE
        assert len(steps) >= 10

    in_a_loop(test)


def test_messages_of_one_channel_keep_their_order() -> None:
    """P16."""

    async def test(channels: LocalChannels) -> None:
        received = many(3 * SLICE, channels, "x")
        sent = [str(k) for k in range(20)]
        for k, text in enumerate(sent):
            channels.send(APP.id, "x", text)
            if k % 7 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(received[-1]) == len(sent))
        assert all(texts == sent for texts in received)

    in_a_loop(test)


def test_a_small_channel_does_not_wait_for_a_large_one() -> None:
    """Channels take turns: the small one is served long before the large one is done."""

    async def test(channels: LocalChannels) -> None:
        large, small = many(20 * SLICE, channels, "large"), many(1, channels, "small")
        channels.send(APP.id, "large", "hello")
        channels.send(APP.id, "large", "again")
        channels.send(APP.id, "small", "hello")
        for _ in range(3):
            await asyncio.sleep(0)
        assert small == [["hello"]]
        assert large[-1] == []
        await until(lambda: len(large[-1]) == 2)

    in_a_loop(test)


def test_large_channels_take_turns() -> None:
    async def test(channels: LocalChannels) -> None:
        larger, smaller = many(20 * SLICE, channels, "larger"), many(2 * SLICE, channels, "smaller")
        channels.send(APP.id, "larger", "hello")
        channels.send(APP.id, "smaller", "hello")
        while not smaller[-1]:  # noqa: ASYNC110 (each turn counts)
            await asyncio.sleep(0)
        assert larger[-1] == []
        await until(lambda: larger[-1])

    in_a_loop(test)


def test_a_burst_of_small_messages_is_spread_over_turns() -> None:
    async def test(channels: LocalChannels) -> None:
        received = many(10, channels, "x")
        for k in range(SLICE):
            channels.send(APP.id, "x", str(k))
        assert sum(map(len, received)) <= SLICE
        await until(lambda: len(received[-1]) == SLICE)
        assert received == [[str(k) for k in range(SLICE)]] * 10

    in_a_loop(test)


def test_a_client_that_subscribes_meanwhile_does_not_get_an_earlier_message() -> None:
    async def test(channels: LocalChannels) -> None:
        many(3 * SLICE, channels, "x")
        channels.send(APP.id, "x", "earlier")
        late, texts = client_of()
        channels.add(late, "x")
        channels.send(APP.id, "x", "later")
        await until(lambda: texts)
        assert texts == ["later"]

    in_a_loop(test)


def test_a_client_that_leaves_meanwhile_gets_nothing_more() -> None:
    async def test(channels: LocalChannels) -> None:
        many(2 * SLICE, channels, "x")
        leaving, texts = client_of()
        channels.add(leaving, "x")
        last = many(1, channels, "x")[0]
        channels.send(APP.id, "x", "hello")
        leaving.leave()
        await until(lambda: last)
        assert texts == []

    in_a_loop(test)


def test_a_message_is_formed_once_for_all_outlets_of_a_kind() -> None:
    class CountingOutlet(KeepingOutlet):
        forms = 0

        @staticmethod
        def form(text: str) -> str:
            CountingOutlet.forms += 1
            return text

    async def test(channels: LocalChannels) -> None:
        outlets = [CountingOutlet() for _ in range(3 * SLICE)]
        for outlet in outlets:
            channels.add(PusherClient(Host(), APP, outlet, "1.2", ""), "x")  # type: ignore[arg-type]
        channels.send(APP.id, "x", "hello")
        await until(lambda: outlets[-1].texts)
        assert CountingOutlet.forms == 1

    in_a_loop(test)


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(channels: LocalChannels) -> None:
        received = many(2 * SLICE, channels, "x")
        monkeypatch.setattr(module, "WAITING_BYTES", 100_000)
        for k in range(100):
            channels.send(APP.id, "x", str(k))
        assert channels.is_busy
        publisher = asyncio.ensure_future(channels.until_not_busy())
        await asyncio.sleep(0)
        assert not publisher.done()
        dropped = channels.counts["dropped"]
        assert dropped > 0
        await until(lambda: len(received[-1]) == 100 - dropped)
        assert received[-1] == [str(k) for k in range(100 - dropped)]
        assert not channels.is_busy
        await asyncio.wait_for(publisher, PATIENCE_S)

    in_a_loop(test)
    assert len(caplog.records) == 1
