"""The HTTP API, by the official libraries and by requests signed by hand."""

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from pusher import errors

from tests.pusher.clients.apps import GENEROUS, MAIN, OTHER, SMALL
from tests.pusher.clients.conftest import Join, Name, Start
from tests.pusher.clients.driver import LibraryError
from tests.pusher.clients.signing import Api
from tests.pusher.clients.site import server_library
from tests.pusher.clients.stand_in import StandIn


def event(channel: str, **more: Any) -> dict[str, Any]:
    return {"name": "e", "channel": channel, "data": "x", **more}


def test_an_event_is_published_to_one_channel_or_several(join: Join, main: Api, name: Name) -> None:
    """P54: the answer is an empty JSON object."""
    one, two = name("news-"), name("news-")
    client = join(two, client=join(one))
    for body in (event(one), {"name": "e", "channels": [one], "data": "x"}):
        answer = main.post("events", body)
        assert (answer.status_code, answer.json()) == (200, {})
        assert client.message() == {"event": "e", "channel": one, "data": "x"}
    main.post("events", {"name": "e", "channels": [one, two], "data": "x"})
    assert {client.expect("e")["channel"] for _ in range(2)} == {one, two}


def test_the_connection_with_the_named_socket_id_is_left_out(join: Join, main: Api, name: Name) -> None:
    """P55: in batches too; unknown ids are no error."""
    channel = name("news-")
    sender, other = join(channel), join(channel)
    main.publish("one", channel, "x", socket_id=sender.socket_id)
    main.post("batch_events", {"batch": [event(channel, name="two", socket_id=sender.socket_id)]})
    main.publish("three", channel, "x", socket_id="1.1")
    sender.expect("three")
    for expected in ("one", "two", "three"):
        other.expect(expected)


def test_a_hundred_channels_are_the_most_for_one_event(main: Api, name: Name) -> None:
    """P56."""
    channels = [name("news-") for _ in range(101)]
    body = {"name": "e", "channels": channels[:100], "data": "x"}
    assert main.post("events", body).status_code == 200
    answer = main.post("events", body | {"channels": channels})
    assert answer.status_code == 400
    assert "100" in answer.text


def test_ten_kilobytes_are_the_most_for_an_event(join: Join, main: Api, name: Name) -> None:
    """P57: bytes, and not characters; also for each event of a batch, of which nothing is published then."""
    channel = name("news-")
    client = join(channel)
    assert main.post("events", event(channel, data="x" * 10_240)).status_code == 200
    client.expect("e")
    for data in ("x" * 10_241, "é" * 5_121):
        answer = main.post("events", event(channel, data=data))
        assert answer.status_code == 413
        assert "10240" in answer.text.replace(",", "")
        answer = main.post("batch_events", {"batch": [event(channel), event(channel, data=data)]})
        assert answer.status_code == 413
    client.expect_silence()


def test_the_limit_of_size_is_the_apps_own(api: Any, name: Name) -> None:
    """P57: configurable."""
    channel = name("news-")
    assert api(GENEROUS).post("events", event(channel, data="x" * 50_000)).status_code == 200
    assert api(GENEROUS).post("events", event(channel, data="x" * 50_001)).status_code == 413
    assert api(SMALL).post("events", event(channel, data="x" * 101)).status_code == 413


def test_a_body_of_excessive_size_is_refused(main: Api) -> None:
    """P57."""
    body = json.dumps(event("news", data="x" * 20_000_000)).encode()
    with suppress(httpx.TransportError):  # The server may close the connection while the body is still on its way.
        assert main.send("POST", "events", body, {}).status_code == 413
    assert main.get("channels").status_code == 200


MALFORMED: list[Any] = [
    {},
    [],
    None,
    7,
    "text",
    {"name": "e", "data": "x"},
    {"name": "e", "channel": "a"},
    {"channel": "a", "data": "x"},
    {"name": "e", "channels": [], "data": "x"},
    {"name": "e", "channels": "a", "data": "x"},
    {"name": "e", "channels": [7], "data": "x"},
    {"name": "e", "channels": {"a": 1}, "data": "x"},
    {"name": "e", "channel": 7, "data": "x"},
    {"name": "e", "channel": "a b", "data": "x"},
    {"name": "e", "channel": "", "data": "x"},
    {"name": "e", "channel": "x" * 201, "data": "x"},
    {"name": "e", "channel": "#news", "data": "x"},
    {"name": "e", "channels": ["good", "not/good"], "data": "x"},
    {"name": "x" * 201, "channel": "a", "data": "x"},
    {"name": "", "channel": "a", "data": "x"},
    {"name": 7, "channel": "a", "data": "x"},
    {"name": "e", "channel": "a", "data": {"an": "object"}},
    {"name": "e", "channel": "a", "data": 7},
    {"name": "e", "channel": "a", "data": None},
    {"name": "e", "channel": "a", "data": "x", "socket_id": 7},
    {"name": "e", "channel": "a", "data": "x", "info": 7},
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: json.dumps(body)[:60])
def test_malformed_events_are_refused_with_a_reason(main: Api, body: Any) -> None:
    """P58: 400, in single requests and in batches."""
    answer = main.post("events", body)
    assert answer.status_code == 400
    assert len(answer.text) > 20
    if isinstance(body, dict) and "channels" not in body:
        assert main.post("batch_events", {"batch": [body]}).status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"name": "e"', b"[" * 9_000, b'{"name": NaN}'])
@pytest.mark.parametrize("path", ["events", "batch_events"])
def test_bodies_that_are_no_json_are_refused(main: Api, path: str, body: bytes) -> None:
    """P58."""
    assert main.send("POST", path, body, {}).status_code == 400


def test_events_of_the_protocol_itself_cannot_be_published(join: Join, main: Api, name: Name) -> None:
    """P58: `pusher:` and `pusher_internal:` are reserved."""
    channel = name("presence-")
    client = join(channel, "ada")
    for event_name in ("pusher:error", "pusher_internal:member_added"):
        answer = main.post("events", event(channel, name=event_name))
        assert answer.status_code == 400
        assert event_name in answer.text
    client.expect_silence()


def test_info_tells_of_the_channels_that_an_event_went_to(join: Join, main: Api, name: Name) -> None:
    """P59: attributes that do not apply are left out."""
    news, presence, empty = name("news-"), name("presence-"), name("news-")
    clients = [join(news), join(news), join(presence, "ada"), join(presence, "ada")]
    body = {"name": "e", "channels": [news, presence, empty], "data": "x", "info": "user_count,subscription_count"}
    assert main.post("events", body).json() == {
        "channels": {news: {"subscription_count": 2}, presence: {"user_count": 1}, empty: {"subscription_count": 0}}
    }
    assert len(clients) == 4


def test_a_batch_is_published_in_its_order(join: Join, main: Api, name: Name) -> None:
    """P60."""
    one, two = name("news-"), name("news-")
    client = join(two, client=join(one))
    batch = [event(one if number % 2 else two, data=str(number)) for number in range(10)]
    answer = main.post("batch_events", {"batch": batch})
    assert (answer.status_code, answer.json()) == (200, {})
    for sent in batch:
        assert client.message() == {"event": "e", "channel": sent["channel"], "data": sent["data"]}


def test_ten_events_are_the_most_in_a_batch(join: Join, main: Api, name: Name) -> None:
    """P60: all or nothing."""
    channel = name("news-")
    client = join(channel)
    answer = main.post("batch_events", {"batch": [event(channel)] * 11})
    assert answer.status_code == 400
    assert "10" in answer.text
    client.expect_silence()


def test_a_batch_with_one_bad_event_publishes_nothing(join: Join, main: Api, name: Name) -> None:
    """P60: all or nothing."""
    channel = name("news-")
    client = join(channel)
    assert main.post("batch_events", {"batch": [event(channel), event("not good")]}).status_code == 400
    client.expect_silence()


@pytest.mark.parametrize("body", [{}, {"batch": {}}, {"batch": "x"}, {"batch": [7]}, {"batch": [None]}, []])
def test_malformed_batches_are_refused(main: Api, body: Any) -> None:
    """P60, P58."""
    assert main.post("batch_events", body).status_code == 400


def test_info_in_a_batch_comes_by_index(join: Join, main: Api, name: Name) -> None:
    """P60."""
    news, presence = name("news-"), name("presence-")
    clients = [join(news), join(presence, "ada")]
    batch = [
        event(news, info="subscription_count"),
        event(news),
        event(presence, info="user_count"),
    ]
    answer = main.post("batch_events", {"batch": batch}).json()
    assert answer == {"batch": [{"subscription_count": 1}, {}, {"user_count": 1}]}
    assert len(clients) == 2


def test_occupied_channels_are_listed_by_prefix(join: Join, main: Api, name: Name) -> None:
    """P61: those of the own app alone."""
    prefix = name("list-") + "-"
    clients = [join(f"{prefix}a"), join(f"{prefix}b"), join(f"presence-{prefix}", "ada"), join(f"{prefix}c", app=OTHER)]
    assert main.get("channels", filter_by_prefix=prefix).json() == {"channels": {f"{prefix}a": {}, f"{prefix}b": {}}}
    every = main.get("channels").json()["channels"]
    assert {f"{prefix}a", f"{prefix}b", f"presence-{prefix}"} <= set(every)
    assert f"{prefix}c" not in every
    assert len(clients) == 4


def test_user_counts_need_the_prefix_of_presence_channels(main: Api) -> None:
    """P61."""
    assert main.get("channels", info="user_count").status_code == 400
    assert main.get("channels", info="user_count", filter_by_prefix="private-").status_code == 400
    assert main.get("channels", info="user_count", filter_by_prefix="presence-").status_code == 200


def test_a_channel_is_occupied_or_not(join: Join, main: Api, name: Name) -> None:
    """P62: also one that was never seen."""
    channel = name("news-")
    assert main.get(f"channels/{channel}").json()["occupied"] is False
    client = join(channel)
    assert main.get(f"channels/{channel}").json()["occupied"] is True
    client.send("pusher:unsubscribe", {"channel": channel})
    client.expect_silence()
    assert main.get(f"channels/{channel}").json()["occupied"] is False


def test_attributes_that_do_not_fit_a_channel_are_refused(main: Api, name: Name) -> None:
    """P62: `user_count` needs a presence channel."""
    answer = main.get(f"channels/{name('news-')}", info="user_count")
    assert answer.status_code == 400
    assert "presence" in answer.text
    assert main.get(f"channels/{name('presence-')}", info="user_count").json()["user_count"] == 0


def test_users_are_listed_for_presence_channels_alone(main: Api, name: Name) -> None:
    """P63: an empty one has an empty list."""
    assert main.get(f"channels/{name('news-')}/users").status_code == 400
    answer = main.get(f"channels/{name('presence-')}/users")
    assert (answer.status_code, answer.json()) == (200, {"users": []})


def test_a_connection_serves_many_requests(main: Api, pusher_server: StandIn) -> None:
    """P64: keep-alive."""
    for _ in range(3):
        answer = main.get("channels")
        assert answer.headers.get("connection", "keep-alive") == "keep-alive"
    assert len(main.http._transport._pool.connections) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("GET", "events", {404, 405}),
        ("DELETE", "channels", {404, 405}),
        ("PUT", "batch_events", {404, 405}),
        ("GET", "nothing", {404}),
        ("GET", "channels/a/b/c", {404}),
        ("GET", "", {404}),
        ("GET", "/apps", {404}),
        ("GET", "/", {404}),
        ("GET", "users/7/terminate_connections", {404, 405}),
    ],
)
def test_unknown_methods_and_paths_are_not_found(main: Api, method: str, path: str, statuses: set[int]) -> None:
    """P64."""
    assert main.send(method, path, b"{}" if method == "PUT" else None, {}).status_code in statuses


def test_the_answers_are_json(main: Api, name: Name) -> None:
    """P53: errors too have a readable text."""
    answer = main.post("events", event(name("news-")))
    assert answer.headers["content-type"].startswith("application/json")


def test_pythons_library_publishes_and_asks(join: Join, python: Any, name: Name) -> None:
    """P53, P54, P60–P63, P77."""
    library, news, presence = python(), name("news-"), name("presence-")
    client = join(presence, "ada", client=join(news))
    assert library.trigger(news, "e", {"n": 1}) == {}
    assert json.loads(client.expect("e")["data"]) == {"n": 1}
    assert library.trigger_batch([{"channel": news, "name": "b", "data": "x"}]) == {}
    client.expect("b")
    assert library.trigger([news], "e", "x", client.socket_id) == {}
    client.expect_silence()
    assert library.channel_info(news) == {"occupied": True}
    assert library.channel_info(presence, ["user_count"]) == {"occupied": True, "user_count": 1}
    listed = library.channels_info(prefix_filter=presence, attributes=["user_count"])
    assert listed == {"channels": {presence: {"user_count": 1}}}
    assert library.users_info(presence) == {"users": [{"id": "ada"}]}


def test_pythons_library_raises_its_own_errors(python: Any, pusher_server: StandIn, name: Name) -> None:
    """P52, P53, P57, P78: what its own check of size lets pass is refused by the server."""
    with pytest.raises(errors.PusherBadAuth):
        server_library(MAIN, port=pusher_server.port, secret="wrong").trigger("news", "e", "x")
    with pytest.raises(errors.PusherBadRequest):
        python().channel_info(name("news-"), ["user_count"])
    with pytest.raises(errors.PusherBadStatus, match="413"):
        python().trigger(name("news-"), "e", "x" * 11_000)
    foreign = type(MAIN)(id="99", key=MAIN.key, secret=MAIN.secret)
    with pytest.raises((errors.PusherBadStatus, errors.PusherBadAuth)):
        server_library(foreign, port=pusher_server.port).trigger("news", "e", "x")


def test_nodes_library_publishes_and_asks(join: Join, node: Start, name: Name) -> None:
    """P53, P54, P59–P63, P79."""
    library, news, presence = node(), name("news-"), name("presence-")
    client = join(presence, "ada", client=join(news))
    empty = {"status": 200, "body": {}}
    assert library.call("trigger", channels=news, event="e", data={"n": 1}) == empty
    assert json.loads(client.expect("e")["data"]) == {"n": 1}
    assert library.call("trigger_batch", batch=[{"channel": news, "name": "b", "data": "x"}]) == empty
    client.expect("b")
    without = {"socket_id": client.socket_id}
    assert library.call("trigger", channels=[news], event="e", data="x", params=without) == empty
    client.expect_silence()
    with_info = library.call("trigger", channels=[presence], event="e", data="x", params={"info": "user_count"})
    assert with_info["body"] == {"channels": {presence: {"user_count": 1}}}
    client.expect("e")
    assert library.call("get", path=f"/channels/{news}")["body"] == {"occupied": True}
    params = {"filter_by_prefix": presence, "info": "user_count"}
    assert library.call("get", path="/channels", params=params)["body"] == {"channels": {presence: {"user_count": 1}}}
    assert library.call("get", path=f"/channels/{presence}/users")["body"] == {"users": [{"id": "ada"}]}


def test_nodes_library_rejects_with_status_and_reason(node: Start, name: Name) -> None:
    """P52, P53."""
    with pytest.raises(LibraryError) as refusal:
        node(secret="wrong").call("trigger", channels="news", event="e", data="x")
    assert refusal.value.status == 401
    assert len(refusal.value.body) > 20
    with pytest.raises(LibraryError) as refusal:
        node().call("get", path=f"/channels/{name('news-')}", params={"info": "user_count"})
    assert refusal.value.status == 400
    with pytest.raises(LibraryError) as refusal:
        node().call("trigger", channels="news", event="e", data="x" * 11_000)
    assert refusal.value.status == 413
