"""Sessions of the HTTP transports whose requests reach another server than the one that has the session."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from telltale.pusher.protocol.close_codes import TERMINATED
from telltale.pusher.server.fallback import http_transports, relay, session
from telltale.pusher.server.fallback.relay_messages import NO, RelayMessage, Verb
from telltale.pusher.server.membership.entries import MalformedReport
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.fallback.xhr_requests import XhrClient, publish, subscriber
from tests.pusher.server.local_clients import APP, LocalClient, serving, until

Scenario = Callable[[PusherServer, PusherServer], Awaitable[None]]


@pytest.fixture(autouse=True)
def apps() -> Any:
    setting = {"PUSHER_APPS": [{"ID": "1", "KEY": APP.key, "SECRET": APP.secret}], "BROKER": "memory://"}
    with override_settings(TELLTALE=django_settings.TELLTALE | setting):
        yield


def run(scenario: Scenario) -> None:
    """Run a scenario with two servers that know each other, as those of two processes do."""

    async def with_servers() -> None:
        async with serving() as here, serving() as there:
            await until(lambda: here.membership.processes and there.membership.processes)
            await scenario(here, there)

    asyncio.run(with_servers())


def test_a_new_session_belongs_to_the_server_of_its_first_request() -> None:
    async def scenario(here: PusherServer, there: PusherServer) -> None:
        await XhrClient(APP).open(here)
        await XhrClient(APP).open(there)
        assert (here.connection_count, there.connection_count) == (1, 1)

    run(scenario)


def test_each_request_of_a_session_may_reach_any_server() -> None:
    """P73."""

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await XhrClient(APP).open(here)
        await client.subscribe(there, "private-x")
        assert (await client.poll(there).over()).events == ["pusher_internal:subscription_succeeded"]
        for number, server in enumerate((here, there, here, there)):
            poll = client.poll(server)
            await client.waits(here)
            publish((there, here)[number % 2], "private-x", str(number))
            assert [message["data"] for message in (await poll.over()).messages] == [str(number)]
        assert (here.connection_count, there.connection_count) == (1, 0)

    run(scenario)


def test_a_stream_through_another_server_goes_on() -> None:
    """P72."""

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        stream = client.stream(there)
        for number in range(20):
            publish(here, "private-x", str(number))
        await until(lambda: len(stream.messages) == 20)
        await client.send(there, "pusher:ping")
        await until(lambda: stream.events[-1] == "pusher:pong")
        assert not stream.is_over
        assert [message["data"] for message in stream.messages[:20]] == [str(number) for number in range(20)]

    run(scenario)


def test_a_stream_through_another_server_takes_no_more_than_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slow client does not take waits at the server with the session, within that one's limits."""
    monkeypatch.setattr(session, "ABSENT_S", 0.3)
    monkeypatch.setattr(http_transports, "BLOCKED_S", 0.3)

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        stream = client.stream(there)
        await client.waits(here)
        stream.hold()
        for _ in range(100):
            publish(here, "private-x", "x" * 9_000)
        await until(lambda: here.connection_count == 0)
        await stream.over()

    run(scenario)


def test_a_third_server_keeps_out_of_it() -> None:
    """Some brokers deliver every message to all processes."""

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        async with serving() as third:
            await until(lambda: len(third.membership.processes) == len(there.membership.processes) == 2)
            client = await XhrClient(APP).open(here)
            for number in range(5):
                await client.subscribe(there, f"private-{number}")
                assert (await client.poll(there).over()).events == ["pusher_internal:subscription_succeeded"]
            await client.send(third, "pusher:ping")
            assert (await client.poll(third).over()).events == ["pusher:pong"]

    run(scenario)


def test_a_large_body_and_a_large_batch_pass() -> None:
    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        other = LocalClient(here)
        other.subscribe("private-x")
        other.take()
        data = "ж" * 5_000
        assert await client.send(there, "client-x", data, channel="private-x") == 204
        await until(lambda: other.outlet.texts)
        assert other.take()[0]["data"] == data
        publish(here, "private-x", *[data] * 5)
        received: list[Any] = []
        while len(received) < 5:
            received += (await client.poll(there).over()).messages
        assert [message["data"] for message in received] == [data] * 5

    run(scenario)


def test_the_idle_request_at_another_server_gets_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.05)

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        assert (await client.poll(there).over()).body == b"h\n"
        stream = client.stream(there)
        await until(lambda: stream.body.startswith(b"h\nh\n"))

    run(scenario)


def test_a_client_that_leaves_at_another_server_leaves_its_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """P73."""
    monkeypatch.setattr(session, "ABSENT_S", 0.2)

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        poll = client.poll(there)
        await client.waits(here)
        await poll.leave()
        await until(lambda: here.connection_count == 0)

    run(scenario)


def test_a_request_at_one_server_ends_the_older_one_at_the_other() -> None:
    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        older = client.stream(there)
        await client.waits(here)
        newer = client.stream(here)
        await older.over()
        publish(here, "private-x", "1")
        await until(lambda: newer.messages)
        assert older.body == b""

    run(scenario)


def test_a_request_at_another_server_is_told_that_the_session_is_closed() -> None:
    """P71."""

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        waiting = client.poll(there)
        await client.waits(here)
        here.clients_of("1")[0].close(TERMINATED)
        assert (await waiting.over()).frames == [f"c[4009,{json.dumps(TERMINATED.text)}]"]
        for receive in (client.poll, client.stream):
            assert (await receive(there).over()).frames == waiting.frames
        assert await client.send(there, "pusher:ping") == 404

    run(scenario)


def test_an_unknown_session_is_unknown_at_once() -> None:
    """P73: the answers of the other servers are waited for, and no longer."""

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        assert await XhrClient(APP).send(here, "pusher:ping") == 404

    run(scenario)


def test_a_malformed_body_is_not_passed_on() -> None:
    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        assert await client.send_body(there, b"{}") == 400

    run(scenario)


def test_a_session_whose_server_has_gone_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A poll that waits ends with a status that makes the client connect anew, and so does a stream."""
    monkeypatch.setattr(relay, "CHECK_S", 0.05)

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        polling, streaming = await subscriber(here), await subscriber(here)
        poll, stream = polling.poll(there), streaming.stream(there)
        await polling.waits(here)
        await streaming.waits(here)
        await here.link.close()  # As a process that is gone: nothing more is heard of it.
        assert (await poll.over()).status == 404
        await stream.over()
        assert await polling.send(there, "pusher:ping") == 404
        assert (await polling.poll(there).over()).frames[0] == "o{}"

    run(scenario)


def test_a_server_that_goes_away_sends_clients_of_other_servers_to_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """P36: their sessions are given up: to a client, a stream that ends is a connection that has failed."""
    monkeypatch.setattr(session, "ABSENT_S", 0.2)

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        clients = [await subscriber(here) for _ in range(2)]
        requests = [clients[0].poll(there), clients[1].stream(there)]
        for client in clients:
            await client.waits(here)
        there.drain()
        for request in requests:
            assert (await request.over()).frames[-1].startswith("c[4200,")
        await until(lambda: here.connection_count == 0)

    run(scenario)


def test_a_server_that_does_not_answer_delays_a_new_session_only_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "FIND_S", 0.05)

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        monkeypatch.setattr(there.fallback, "receive", lambda *_: None)
        await XhrClient(APP).open(here)

    run(scenario)


def test_requests_for_a_session_that_is_searched_wait_for_the_same_answer() -> None:
    async def scenario(here: PusherServer, there: PusherServer) -> None:
        client = await subscriber(here)
        assert await asyncio.gather(*(client.send(there, "pusher:ping") for _ in range(10))) == [204] * 10
        assert (await client.poll(here).over()).events == ["pusher:pong"] * 10

    run(scenario)


def test_searches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone can make up names of sessions; each search costs every server a message."""
    monkeypatch.setattr(relay, "SEARCHES", 5)
    monkeypatch.setattr(relay, "FIND_S", 0.2)

    async def scenario(here: PusherServer, there: PusherServer) -> None:
        asked: list[str] = []
        monkeypatch.setattr(there.fallback, "receive", lambda _process, text: asked.append(text))
        assert await asyncio.gather(*(XhrClient(APP).send(here, "pusher:ping") for _ in range(50))) == [404] * 50
        assert len(asked) == 5

    run(scenario)


def test_messages_between_servers_survive_their_text() -> None:
    message = RelayMessage(
        verb=Verb.ANSWER, number=7, target="p", key="k", session="1/abcdefgh", status=NO, text='a["\\n"]\nh\n'
    )
    assert RelayMessage.from_text(message.to_text()) == message


@pytest.mark.parametrize("text", ["", "x", "[]", '["other", 1, null, "", "", ""]\n', "{}"])
def test_a_malformed_message_of_another_server_is_reported(text: str) -> None:
    with pytest.raises(MalformedReport):
        RelayMessage.from_text(text)
