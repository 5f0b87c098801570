"""How a connection begins, lives and ends."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.pusher.clients.apps import DISABLED, MAIN, MUTE, SHORT, SMALL, TLS_ONLY
from tests.pusher.clients.conftest import Connect, Name, Start
from tests.pusher.clients.raw import QUERY, RawClient
from tests.pusher.clients.signing import Api
from tests.pusher.clients.stand_in import IS_LIVE_SERVER, StandIn


def closed(server: StandIn, path: str) -> tuple[int, str]:
    """Return the code and reason with which the server closes a connection to this path."""
    client = RawClient(server.port, path)
    assert client.status == 101, "A refusal of the handshake makes browsers retry for ever."
    try:
        return client.closing()
    finally:
        client.close()


def test_the_first_message_has_a_socket_id_and_the_activity_timeout(pusher_server: StandIn) -> None:
    """P1, P2, P3: the data is a string of JSON."""
    client = RawClient(pusher_server.port, f"/app/{MAIN.key}?{QUERY}")
    message = client.expect("pusher:connection_established")
    assert isinstance(message["data"], str)
    data = json.loads(message["data"])
    assert re.fullmatch(r"\d+\.\d+", data["socket_id"])
    assert data["activity_timeout"] == 120
    client.close()


def test_the_activity_timeout_is_the_apps_own(connect: Connect, pusher_server: StandIn) -> None:
    """P3."""
    client = RawClient(pusher_server.port, f"/app/{SHORT.key}?{QUERY}")
    assert json.loads(client.expect("pusher:connection_established")["data"])["activity_timeout"] == 1
    client.close()


def test_socket_ids_are_unique(connect: Connect) -> None:
    """P2."""
    assert len({connect().socket_id for _ in range(20)}) == 20


@pytest.mark.parametrize("version", [4, 5, 6, 7])
def test_protocol_versions_four_to_seven_are_served(connect: Connect, version: int) -> None:
    """P5."""
    connect(query=f"protocol={version}").expect_silence()


def test_only_the_protocol_matters_in_the_query(connect: Connect) -> None:
    """P1."""
    connect(query="protocol=7").expect_silence()
    connect(query="version=1&client=my%20own&protocol=7&flash=true&x=%F0%9F%98%80").expect_silence()


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/app/nobodys-key?{QUERY}", 4001),
        (f"/app/{DISABLED.key}?{QUERY}", 4003),
        (f"/app/{TLS_ONLY.key}?{QUERY}", 4000),
        (f"/app/{MAIN.key}?protocol=3", 4007),
        (f"/app/{MAIN.key}?protocol=8", 4007),
        (f"/app/{MAIN.key}?protocol=seven", 4006),
        (f"/app/{MAIN.key}?protocol=", 4006),
        (f"/app/{MAIN.key}?client=js", 4008),
        (f"/app/{MAIN.key}", 4008),
    ],
)
def test_a_connection_that_cannot_be_served_is_accepted_and_closed_with_its_code(
    pusher_server: StandIn, path: str, code: int
) -> None:
    """P4, P5, P6, P33: the reason is short enough for a closing frame, and names what to do."""
    number, reason = closed(pusher_server, path)
    assert number == code
    assert 10 < len(reason.encode()) <= 123


def test_an_unknown_path_is_closed_or_not_found(pusher_server: StandIn) -> None:
    """P6: in a project, other paths are the project's own, and its server refuses the handshake."""
    client = RawClient(pusher_server.port, f"/application/{MAIN.key}?{QUERY}")
    if IS_LIVE_SERVER:
        assert client.status in {403, 404}
    else:
        assert client.closing()[0] == 4005
    client.close()


def test_more_connections_than_the_app_may_have_are_closed_and_others_stay(
    connect: Connect, pusher_server: StandIn
) -> None:
    """P6, and "too many connections" of the bad input: 4004 tells the client to stay away."""
    first, second = connect(SMALL), connect(SMALL)
    number, reason = closed(pusher_server, f"/app/{SMALL.key}?{QUERY}")
    assert number == 4004
    assert "connections" in reason
    first.expect_silence()
    second.expect_silence()
    connect(MAIN).expect_silence()


def test_a_closed_connection_makes_room_for_another(connect: Connect, pusher_server: StandIn) -> None:
    """P6."""
    first, second = connect(SMALL), connect(SMALL)
    first.close()
    second.vanish()
    for _ in range(200):
        client = RawClient(pusher_server.port, f"/app/{SMALL.key}?{QUERY}")
        if client.message()["event"] == "pusher:connection_established":
            break
    client.close()


def test_pusher_js_stays_away_from_an_unknown_key(js: Start) -> None:
    """P4, P7, P33: `disconnected`, without another try, and the reason is shown."""
    client = js(options={"activityTimeout": 1000}, app=MAIN_WITH_ANOTHER_KEY)
    error = client.wait(kind="error")["error"]["error"]
    assert error["data"]["code"] == 4001
    assert "key" in error["data"]["message"]
    client.wait(kind="state", current="disconnected")
    assert client.call("state") == "disconnected"


MAIN_WITH_ANOTHER_KEY = type(MAIN)(id=MAIN.id, key="nobodys-key", secret=MAIN.secret)


def test_pusher_js_connects(js: Start) -> None:
    """P1, P2, P3, P75."""
    client = js()
    client.wait(kind="state", current="connected")
    assert re.fullmatch(r"\d+\.\d+", client.call("socket_id"))


def test_a_ping_is_answered_with_a_pong(connect: Connect) -> None:
    """P9."""
    client = connect()
    client.send("pusher:ping")
    assert client.message() in ({"event": "pusher:pong"}, {"event": "pusher:pong", "data": "{}"}, PONG)
    client.send_text('{"event":"pusher:ping"}')
    assert client.message()["event"] == "pusher:pong"


PONG = {"event": "pusher:pong", "data": {}}


def test_a_pong_frame_carries_the_payload_of_the_ping_frame(connect: Connect) -> None:
    """P10."""
    client = connect()
    assert client.ping(b"") == b""
    assert client.ping(b"are you there? \xff\x00") == b"are you there? \xff\x00"


def test_pusher_js_that_is_asked_for_pings_stays_connected(js: Start) -> None:
    """P9, P11: both sides ask each other every second."""
    client = js(app=SHORT)
    client.wait(kind="state", current="connected")
    client.wait(kind="message", event="pusher:pong")
    client.wait(kind="message", event="pusher:pong")
    assert client.call("state") == "connected"
    assert client.seen(kind="error") == []


def test_a_client_that_answers_no_ping_is_closed(pusher_server: StandIn) -> None:
    """P8, P11: by the server's own ping, whatever its form, and with 4201."""
    client = RawClient(pusher_server.port, f"/app/{SHORT.key}?{QUERY}", answers_pings=False)
    client.establish()
    number, reason = client.closing()
    assert number == 4201
    assert "ping" in reason
    client.close()


@pytest.mark.parametrize("answer", ["pusher:pong", "pusher:ping", "client-anything"])
def test_any_message_counts_as_a_sign_of_life(connect: Connect, answer: str) -> None:
    """P11: so the client is asked again, and not closed."""
    client = connect(SHORT, answers_pings=False)
    for _ in range(2):
        client.until("pusher:ping")
        client.send(answer)
    client.until("pusher:ping")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "7",
        '"pusher:ping"',
        "[]",
        "[1, 2]",
        "{}",
        '{"event": 7}',
        '{"event": null}',
        '{"data": {}}',
        "[" * 50_000,
        '{"event": "pusher:subscribe", "data": "not json"}',
        '{"event": "pusher:subscribe", "data": null}',
        '{"event": "pusher:subscribe", "data": {"channel": 7}}',
        '{"event": "pusher:subscribe", "data": {"channel": ["a"]}}',
        '{"event": "pusher:subscribe"}',
        '{"event": "pusher:signin", "data": 7}',
        '{"event": "pusher:signin", "data": {"auth": {}, "user_data": []}}',
        '{"event": "client-x", "channel": {}, "data": 1}',
        '{"event": "\\ud800", "data": 1}',
        '{"event": "pusher:subscribe", "data": {"channel": "\\ud800"}}',
        '{"event": "pusher:subscribe", "data": {"channel": "private-x", "auth": "\\ud800:\\udfff"}}',
    ],
)
def test_malformed_messages_neither_crash_the_server_nor_touch_others(connect: Connect, text: str) -> None:
    """P12: the sender is told by `pusher:error`, or on the channel, and stays connected."""
    bystander, sender = connect(), connect()
    sender.send_text(text)
    assert sender.expect_error()
    sender.expect_silence()
    bystander.expect_silence()


@pytest.mark.parametrize("data", [None, [], 7, "x", {}, {"channel": {}}, {"channel": None}])
def test_malformed_unsubscriptions_are_harmless(connect: Connect, data: Any) -> None:
    """P12, P19: an error, or nothing."""
    client = connect()
    client.send_text(json.dumps({"event": "pusher:unsubscribe", "data": data}))
    client.send("pusher:ping")
    assert client.message()["event"] in {"pusher:pong", "pusher:error"}
    client.send("pusher:ping")
    client.until("pusher:pong")


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b'{"event":"pusher:ping","data":{}}'])
def test_binary_messages_neither_crash_the_server_nor_touch_others(connect: Connect, data: bytes) -> None:
    """P12."""
    bystander, sender = connect(), connect()
    sender.send_binary(data)
    sender.expect_error()
    bystander.expect_silence()


def test_fragmented_messages_are_ordinary(connect: Connect, name: Name) -> None:
    """P13."""
    client, channel = connect(), name("public-")
    text = json.dumps({"event": "pusher:subscribe", "data": {"channel": channel}})
    client.send_text(*text)
    assert client.message() == {
        "event": "pusher_internal:subscription_succeeded",
        "channel": channel,
        "data": "{}",
    }


@pytest.mark.parametrize("event", ["pusher:unheard-of", "pusher_internal:member_added", "unheard-of"])
def test_unknown_events_are_never_relayed(join: Any, main: Api, name: Name, event: str) -> None:
    """P13."""
    channel = name("private-")
    sender, other = join(channel), join(channel)
    sender.send(event, {"user_id": "1"}, channel=channel)
    main.publish("last", channel, "x")
    other.expect("last")
    sender.until("last")


def test_a_message_of_excessive_size_is_refused_and_others_are_unaffected(connect: Connect) -> None:
    """P12: an error or a clean close."""
    bystander, sender = connect(), connect()
    sender.send("client-x", "x" * 2_000_000, channel="private-x")
    sender.expect_error()
    bystander.expect_silence()


def test_neither_cookie_nor_origin_is_asked_for(connect: Connect) -> None:
    """P34: the signature alone is the authority."""
    connect(headers=(("Origin", "https://elsewhere.example"), ("Cookie", "sessionid=x"))).expect_silence()


def test_plain_http_at_the_websockets_address_is_an_error(pusher_server: StandIn) -> None:
    """P6, P64."""
    answer = httpx.get(f"{pusher_server.url}/app/{MAIN.key}?{QUERY}", timeout=30)
    assert 400 <= answer.status_code < 500


def test_every_message_of_the_server_has_an_event(connect: Connect, name: Name) -> None:
    """P35: pusher-js throws on any other."""
    client = connect(MUTE)
    client.ask_for(name("public-"))
    client.ask_for(name("private-"))
    client.send("client-x", 1, channel="private-x")
    client.send_text("{")
    client.send("pusher:ping")
    events = []
    while "pusher:pong" not in events:
        events.append(client.message()["event"])
    assert all(isinstance(event, str) for event in events)
    assert len(events) >= 4
