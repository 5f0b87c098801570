"""Sessions of the HTTP transports: their frames, their requests, their limits and their end."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from telltale.pusher.protocol.close_codes import TERMINATED
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.clients.client import QUEUED_BYTES
from telltale.pusher.server.clients.rate_limits import MESSAGE_BURST
from telltale.pusher.server.fallback import frames, http_transports, session
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.fallback.xhr_requests import Request, XhrClient, publish, subscriber
from tests.pusher.server.local_clients import APP, LocalClient, serving, until

SETTINGS = [
    {"ID": "1", "KEY": APP.key, "SECRET": APP.secret},
    {"ID": "2", "KEY": "key-2", "SECRET": "secret-2", "LIMITS": {"CONNECTIONS": 1}},
    {"ID": "3", "KEY": "key-3", "SECRET": "secret-3", "TLS_ONLY": True},
]

Scenario = Callable[[PusherServer], Awaitable[None]]


@pytest.fixture(autouse=True)
def apps() -> Any:
    with override_settings(TELLTALE=django_settings.TELLTALE | {"PUSHER_APPS": SETTINGS}):
        yield


def run(scenario: Scenario) -> None:
    """Run a scenario with a server of its own."""

    async def with_server() -> None:
        async with serving() as server:
            await scenario(server)

    asyncio.run(with_server())


# Polling ------------------------------------------------------------------------------------------


def test_a_session_is_opened_once_and_begins_with_a_socket_id() -> None:
    """P71, P2."""

    async def scenario(server: PusherServer) -> None:
        client = XhrClient(APP)
        first = await client.poll(server).over()
        assert first.frames[0] == "o{}"
        assert first.events == ["pusher:connection_established"]
        await client.send(server, "pusher:ping")
        second = await client.poll(server).over()
        assert second.frames == ['a["{\\"event\\":\\"pusher:pong\\",\\"data\\":\\"{}\\"}"]']
        assert server.connection_count == 1

    run(scenario)


def test_a_poll_waits_for_a_message() -> None:
    """P72."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        poll = client.poll(server)
        await client.waits(server)
        publish(server, "private-x", "1", "2")
        publish(server, "private-x", "3")
        await poll.over()
        assert len(poll.frames) == 1, "One batch for each request."
        assert [message["data"] for message in poll.messages] == ["1", "2", "3"]

    run(scenario)


def test_what_comes_between_two_polls_is_in_the_second() -> None:
    """P72."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        publish(server, "private-x", *map(str, range(100)))
        poll = await client.poll(server).over()
        assert [message["data"] for message in poll.messages] == [str(number) for number in range(100)]

    run(scenario)


def test_an_idle_poll_ends_with_a_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """P72."""
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.02)

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        assert (await client.poll(server).over()).body == b"h\n"
        assert (await client.poll(server).over()).body == b"h\n"

    run(scenario)


def test_a_large_burst_is_split_into_polls_and_complete() -> None:
    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        sent = [f"{number} {'x' * 9_000}" for number in range(60)]
        publish(server, "private-x", *sent)
        received: list[str] = []
        while len(received) < len(sent):
            poll = await client.poll(server).over()
            assert len(poll.body) < session.BATCH_BYTES + 12_000
            received += [message["data"] for message in poll.messages]
        assert received == sent

    run(scenario)


# Streaming ----------------------------------------------------------------------------------------


def test_a_stream_goes_on() -> None:
    """P72."""

    async def scenario(server: PusherServer) -> None:
        client = XhrClient(APP)
        stream = client.stream(server)
        await until(lambda: stream.events == ["pusher:connection_established"])
        assert stream.frames[0] == "o{}"
        client.socket_id = json.loads(stream.messages[0]["data"])["socket_id"]
        await client.subscribe(server, "private-x")
        for number in range(3):
            publish(server, "private-x", str(number))
            await until(lambda count=number: len(stream.messages) == count + 3)
        assert not stream.is_over
        assert [message["data"] for message in stream.messages[2:]] == ["0", "1", "2"]

    run(scenario)


def test_an_idle_stream_gets_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """P71, P73: the client answers each with an empty body, which shows that it lives."""
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.02)

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        stream = client.stream(server)
        await until(lambda: stream.body.startswith(b"h\nh\nh\n"))
        [connection] = server.clients_of("1")
        heard_at = connection.heard_at
        assert await client.send_body(server, []) == 204
        assert connection.heard_at > heard_at

    run(scenario)


def test_a_stream_ends_at_its_limit_and_another_one_goes_on_without_loss() -> None:
    """P72: the client leaves a stream once it has read more than 262,144 characters, so nothing comes after those."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        sent = [f"{number} {'ж' * 2_000}" for number in range(60)]
        received: list[str] = []
        streams, published = [], 0
        while len(received) < len(sent):
            stream = client.stream(server)
            streams.append(stream)
            while not stream.is_over and (arrived := len(received) + len(stream.messages)) < len(sent):
                if arrived == published:
                    # Otherwise the last one waits in the session, because the stream before has ended.
                    publish(server, "private-x", sent[published])
                    published += 1
                count = len(stream.messages)
                await until(lambda stream=stream, count=count: len(stream.messages) > count or stream.is_over)
            received += [message["data"] for message in stream.messages]
        assert received == sent
        assert len(streams) > 2
        for full in streams[:-1]:
            before_last = full.body[: -len(full.frames[-1]) - 1]
            assert len(before_last) <= frames.STREAM_CHARACTERS < len(full.body)
        assert not any(b"o{}" in stream.body for stream in streams)

    run(scenario)


def test_a_newer_request_receives_in_place_of_an_older_one() -> None:
    """A client that has opened another stream may not have closed the last one yet."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        older = client.stream(server)
        await until(lambda: older.status)
        newer = client.stream(server)
        await older.over()
        publish(server, "private-x", "1")
        await until(lambda: newer.messages)
        assert older.body == b""

    run(scenario)


def test_an_older_request_that_is_being_written_to_ends_too() -> None:
    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        older = client.stream(server)
        await until(lambda: older.status)
        older.hold()
        publish(server, "private-x", "1")
        await until(lambda: not client.session(server).is_waiting)
        newer = client.stream(server)
        await client.waits(server)
        older.let_go()
        await older.over()
        publish(server, "private-x", "2")
        await until(lambda: newer.messages)
        assert [message["data"] for request in (older, newer) for message in request.messages] == ["1", "2"]

    run(scenario)


def test_a_client_whose_request_waits_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ABSENT_S", 0.1)
    monkeypatch.setattr(session, "HEARTBEAT_S", 0.05)

    async def scenario(server: PusherServer) -> None:
        client = XhrClient(APP)
        stream = client.stream(server)
        await until(lambda: stream.frames.count("h") >= 5)
        assert server.connection_count == 1

    run(scenario)


# What clients send --------------------------------------------------------------------------------


def test_client_events_are_sent_to_others() -> None:
    """P37, P73."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        other = LocalClient(server)
        other.subscribe("private-x")
        other.take()
        assert await client.send(server, "client-x", {"n": 1}, channel="private-x") == 204
        await until(lambda: other.outlet.texts)
        assert other.take() == [{"event": "client-x", "channel": "private-x", "data": {"n": 1}}]

    run(scenario)


def test_a_message_that_breaks_a_rule_is_answered_on_the_connection() -> None:
    """P12."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        assert await client.send_body(server, ["no JSON", '{"event":"unknown"}']) == 204
        assert (await client.poll(server).over()).events == ["pusher:error"] * 2

    run(scenario)


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]"])
def test_a_malformed_body_is_refused_and_the_session_stays(body: bytes) -> None:
    """P12, P73."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        request = await Request(server, f"{client.path}/xhr_send", body).over()
        assert request.status == 400
        assert "list of strings" in json.loads(request.body)["error"]
        assert request.headers["access-control-allow-origin"] == "*"
        assert server.connection_count == 1

    run(scenario)


def test_a_body_that_is_too_large_is_refused_unread() -> None:
    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        announced = Request(server, f"{client.path}/xhr_send", headers=[(b"content-length", b"100000000")])
        assert (await announced.over()).status == 413
        assert announced.headers["connection"] == "close"

    run(scenario)


def test_an_unknown_session_is_not_found() -> None:
    """P73."""

    async def scenario(server: PusherServer) -> None:
        assert await XhrClient(APP).send_body(server, []) == 404
        assert await XhrClient(PusherApp(id="9", key="unknown", secret="s")).send_body(server, []) == 404
        client = await subscriber(server)
        elsewhere = XhrClient(PusherApp(id="2", key="key-2", secret="secret-2"))
        elsewhere.path = client.path.replace(APP.key, "key-2")
        assert await elsewhere.send_body(server, []) == 404, "A session belongs to one app."

    run(scenario)


def test_a_flood_closes_the_session() -> None:
    async def scenario(server: PusherServer) -> None:
        client = await XhrClient(APP).open(server)
        for _ in range(int(MESSAGE_BURST) // frames.MESSAGES_PER_BODY + 2):
            await client.send_body(server, ["x"] * frames.MESSAGES_PER_BODY)
        closed = await client.poll(server).over()
        while closed.frames[-1][0] != "c":
            closed = await client.poll(server).over()
        assert json.loads(closed.frames[-1][1:])[0] == 4102
        assert await client.send_body(server, []) == 404

    run(scenario)


def test_a_client_that_returns_with_all_its_channels_is_no_flood() -> None:
    """Each subscription is a request of its own, and most answers need one too."""

    async def scenario(server: PusherServer) -> None:
        client = await XhrClient(APP).open(server)
        for number in range(1_000):
            await client.subscribe(server, f"private-{number}")
            assert (await client.poll(server).over()).events == ["pusher_internal:subscription_succeeded"]

    run(scenario)


# The end ------------------------------------------------------------------------------------------


def test_a_client_without_a_request_leaves_its_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """P73, P28."""
    monkeypatch.setattr(session, "ABSENT_S", 0.05)

    async def scenario(server: PusherServer) -> None:
        witness = LocalClient(server)
        witness.join("presence-x", "ann")
        client = await XhrClient(APP).open(server)
        await client.subscribe(server, "presence-x", channel_data='{"user_id":"bob"}')
        await until(
            lambda: "pusher_internal:member_removed" in [json.loads(text)["event"] for text in witness.outlet.texts]
        )
        assert server.connection_count == 1
        assert server.counts["closed by the client"] == 1
        assert await client.send_body(server, []) == 404
        assert (await client.poll(server).over()).frames[0] == "o{}", "It is unknown, so it is a new one."

    run(scenario)


def test_a_client_whose_stream_ends_without_notice_has_some_seconds_to_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """P73."""
    monkeypatch.setattr(session, "ABSENT_S", 30.0)

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        stream = client.stream(server)
        await until(lambda: stream.status)
        await stream.leave()
        publish(server, "private-x", "1")
        assert (await client.poll(server).over()).messages[0]["data"] == "1"

    run(scenario)


def test_a_waiting_request_is_told_that_the_session_is_closed() -> None:
    """P71, P7."""

    async def scenario(server: PusherServer) -> None:
        for receive in (XhrClient.poll, XhrClient.stream):
            client = await subscriber(server)
            request = receive(client, server)
            await client.waits(server)
            publish(server, "private-x", "last")
            [connection] = server.clients_of("1")
            connection.close(TERMINATED)
            await request.over()
            assert request.messages[0]["data"] == "last"
            assert request.frames[-1] == f"c[4009,{json.dumps(TERMINATED.text)}]"

    run(scenario)


def test_a_client_that_was_closed_between_two_polls_is_told_at_the_next() -> None:
    """P71: with what was sent before."""

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        publish(server, "private-x", "last")
        [connection] = server.clients_of("1")
        connection.close(TERMINATED)
        for _ in range(2):
            poll = await client.poll(server).over()
            assert poll.frames[-1].startswith("c[4009,")
        assert await client.send_body(server, []) == 404

    run(scenario)


def test_a_closed_session_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CLOSED_S", 0.02)
    monkeypatch.setattr(session, "ABSENT_S", 300.0)

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        [connection] = server.clients_of("1")
        connection.close(TERMINATED)
        await until(lambda: client.session(server) is None)

    run(scenario)


def test_a_drain_closes_sessions_with_codes_that_bring_clients_back() -> None:
    """P36."""

    async def scenario(server: PusherServer) -> None:
        clients = [await subscriber(server) for _ in range(4)]
        requests = [client.poll(server) for client in clients]
        for client in clients:
            await client.waits(server)
        server.drain()
        codes = [json.loads((await request.over()).frames[-1][1:])[0] for request in requests]
        assert set(codes) == {4101, 4200}
        refused = await XhrClient(APP).poll(server).over()
        assert refused.frames[0] == "o{}"
        assert refused.frames[-1].startswith("c[4101,")

    run(scenario)


def test_a_client_whose_queue_is_full_is_closed() -> None:
    """It does not ask for what waits for it, so it is closed; others are unaffected."""

    async def scenario(server: PusherServer) -> None:
        client, other = await subscriber(server), LocalClient(server)
        other.subscribe("private-x")
        text = "x" * 9_000
        for _ in range(QUEUED_BYTES // len(text) + 1):
            publish(server, "private-x", text)
        await until(lambda: server.connection_count == 1)
        assert other.client.is_open
        assert (await client.poll(server).over()).frames[-1].startswith("c[4203,")

    run(scenario)


def test_a_stream_whose_client_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transports, "BLOCKED_S", 0.05)

    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        stream = client.stream(server)
        await until(lambda: stream.status)
        stream.hold()
        publish(server, "private-x", "1")
        await stream.over()
        assert stream.body == b""
        publish(server, "private-x", "2")
        assert (await client.poll(server).over()).messages[0]["data"] == "2", "It may come back."

    run(scenario)


def test_a_stream_that_is_slow_for_a_moment_loses_nothing() -> None:
    async def scenario(server: PusherServer) -> None:
        client = await subscriber(server)
        stream = client.stream(server)
        await until(lambda: stream.status)
        stream.hold()
        for number in range(50):
            publish(server, "private-x", str(number))
            await asyncio.sleep(0)
        stream.let_go()
        await until(lambda: len(stream.messages) == 50)
        assert [message["data"] for message in stream.messages] == [str(number) for number in range(50)]

    run(scenario)


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["xhr", "xhr_streaming"])
@pytest.mark.parametrize(
    ("key", "query", "code"),
    [
        ("unknown", b"protocol=7", 4001),
        (APP.key, b"", 4008),
        (APP.key, b"protocol=3", 4007),
        ("key-3", b"protocol=7", 4000),
    ],
)
def test_a_refused_client_is_told_why(action: str, key: str, query: bytes, code: int) -> None:
    """P4, P5, P6: with status 200, and after an opening frame, or the client would try again."""

    async def scenario(server: PusherServer) -> None:
        request = await Request(server, f"/app/{key}/1/abcdefgh/{action}", query_string=query).over()
        assert request.status == 200
        opened, closed = request.frames
        assert opened == "o{}"
        assert json.loads(closed[1:])[0] == code

    run(scenario)


def test_an_app_for_tls_alone_is_served_over_tls() -> None:
    """P6."""

    async def scenario(server: PusherServer) -> None:
        request = await Request(server, "/app/key-3/1/abcdefgh/xhr", scheme="https").over()
        assert request.events == ["pusher:connection_established"]

    run(scenario)


def test_sessions_count_as_connections_of_their_app() -> None:
    app = PusherApp(id="2", key="key-2", secret="secret-2")

    async def scenario(server: PusherServer) -> None:
        await XhrClient(app).open(server)
        refused = await XhrClient(app).poll(server).over()
        assert refused.frames[0] == "o{}"
        assert refused.frames[-1].startswith("c[4004,")
        assert server.connection_count == 1

    run(scenario)


def test_pages_of_all_origins_may_ask() -> None:
    """P74, P34."""

    async def scenario(server: PusherServer) -> None:
        path = "/app/key-1/1/abcdefgh/xhr"
        wanted = [(b"Access-Control-Request-Headers", b"content-type,x-trace")]
        preflight = await Request(server, path, method="OPTIONS", headers=wanted).over()
        assert preflight.status == 204
        assert preflight.headers["access-control-allow-origin"] == "*"
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert preflight.headers["access-control-allow-headers"] == "content-type,x-trace"
        assert (await Request(server, path).over()).headers["access-control-allow-origin"] == "*"

    run(scenario)


def test_other_methods_are_refused() -> None:
    """P64."""

    async def scenario(server: PusherServer) -> None:
        request = await Request(server, "/app/key-1/1/abcdefgh/xhr", method="GET").over()
        assert (request.status, request.headers["allow"]) == (405, "OPTIONS, POST")

    run(scenario)
