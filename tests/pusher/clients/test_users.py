"""Users: sign-in, events to a user, ending a user's connections, watchlists."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.pusher.clients.apps import MAIN, OTHER, UNWATCHED
from tests.pusher.clients.conftest import Connect, Join, Name, Start
from tests.pusher.clients.driver import Client
from tests.pusher.clients.raw import ClosedByServerError, RawClient
from tests.pusher.clients.signing import Api, user_auth
from tests.pusher.clients.site import AppSite
from tests.pusher.clients.users import on_own_channel, sign_in, signed_in


def test_a_signed_user_is_signed_in(connect: Connect, name: Name) -> None:
    """P43, P44: the data comes back as it was sent, in an object."""
    data = json.dumps({"id": name("user-"), "user_info": {"name": "Ada"}, "own": "ÆØÅ"})
    answer = sign_in(connect(), data)
    assert answer == {"event": "pusher:signin_success", "data": {"user_data": data}}


def refused(client: RawClient, answer: dict[str, Any]) -> None:
    """Fail unless the sign-in was refused. The connection may be closed."""
    assert answer["event"] in {"pusher:error", "pusher:signin_error"}, answer
    with suppress(ClosedByServerError):
        client.expect_silence()


@pytest.mark.parametrize(
    "user_data", ["{}", '{"id":""}', '{"id":7}', '{"id":null}', "[]", "null", '"ada"', "not json", "[" * 5_000]
)
def test_user_data_without_an_id_is_refused(connect: Connect, user_data: str) -> None:
    """P43."""
    client = connect()
    refused(client, sign_in(client, user_data))


def test_wrong_signatures_are_refused(connect: Connect, name: Name) -> None:
    """P44: of another socket, another user, another app, and none; the right one is not told."""
    user = name("user-")
    data = json.dumps({"id": user})
    for wrong in ("another socket", "another user", "another app", "another key", "none"):
        client, other = connect(), connect()
        right = user_auth(MAIN, client.socket_id, data)
        auth = {
            "another socket": user_auth(MAIN, other.socket_id, data),
            "another user": user_auth(MAIN, client.socket_id, data.replace(user, "eve")),
            "another app": user_auth(OTHER, client.socket_id, data),
            "another key": f"{OTHER.key}:{right.split(':')[1]}",
            "none": "",
        }[wrong]
        client.send("pusher:signin", {"auth": auth, "user_data": data})
        answer = client.message()
        assert right.split(":")[1] not in json.dumps(answer)
        refused(client, answer)


def test_a_connection_stays_with_its_first_user(connect: Connect, main: Api, name: Name) -> None:
    """P44: a second user is refused."""
    first, second = name("user-"), name("user-")
    client = signed_in(connect(), first)
    refused(client, sign_in(client, json.dumps({"id": second})))
    with suppress(ClosedByServerError):
        client.subscribe(f"#server-to-user-{second}")
        main.publish("e", f"#server-to-user-{second}", "x")
        client.expect_silence()


def test_a_users_own_channel_is_open_to_that_user_alone(connect: Connect, name: Name) -> None:
    """P45: not to another one, and to no client that is not signed in."""
    user = name("user-")
    on_own_channel(signed_in(connect(), user), user)
    for client in (connect(), signed_in(connect(), name("user-"))):
        answer = client.subscribe(f"#server-to-user-{user}")
        assert answer["event"] in {"pusher:subscription_error", "pusher:error"}
        client.expect_silence()


def test_events_to_a_user_reach_every_connection_of_that_user(connect: Connect, main: Api, name: Name) -> None:
    """P46."""
    user = name("user-")
    channel = f"#server-to-user-{user}"
    clients = [on_own_channel(signed_in(connect(), user), user) for _ in range(2)]
    other = signed_in(connect(), name("user-"))
    main.publish("greeting", channel, '{"a":1}')
    for client in clients:
        assert client.message() == {"event": "greeting", "channel": channel, "data": '{"a":1}'}
    other.expect_silence()


def test_a_user_of_another_app_hears_nothing(connect: Connect, main: Api, name: Name, api: Any) -> None:
    """P46: nothing leaks across apps."""
    user = name("user-")
    channel = f"#server-to-user-{user}"
    foreign = on_own_channel(signed_in(connect(OTHER), user, OTHER), user)
    main.publish("greeting", channel, "x")
    assert main.post(f"users/{user}/terminate_connections", {}).status_code == 200
    api(OTHER).publish("last", channel, "x")
    foreign.expect("last")


def ready(client: Client, user: str) -> Client:
    """Sign a pusher-js client in, and wait until it listens to the user's own channel."""
    client.call("signin")
    client.wait(kind="message", event="pusher:signin_success")
    client.wait(kind="message", event="pusher_internal:subscription_succeeded", channel=f"#server-to-user-{user}")
    return client


def test_pusher_js_signs_in_and_hears_what_the_libraries_send_to_the_user(
    js: Start, python: Any, node: Start, site: AppSite, name: Name
) -> None:
    """P43, P45, P46."""
    user = name("user-")
    client = ready(js(user=user), user)
    request = site.webhooks("/pusher/user-auth")[-1]
    assert parse_qs(request["body"]) == {"socket_id": [client.call("socket_id")]}
    assert client.call("user")["id"] == user
    python().send_to_user(user, "greeting", {"from": "Python"})
    assert client.wait(kind="user", event="greeting")["data"] == {"from": "Python"}
    node().call("send_to_user", user=user, event="greeting", data={"from": "node"})
    assert client.wait(kind="user", event="greeting")["data"] == {"from": "node"}


def test_terminated_users_are_closed_and_stay_away(connect: Connect, join: Join, main: Api, name: Name) -> None:
    """P47: presence alone does not make a signed-in user."""
    user = name("user-")
    signed, other = signed_in(connect(), user), signed_in(connect(), name("user-"))
    present = join(name("presence-"), user)
    assert main.post(f"users/{user}/terminate_connections", {}).json() == {}
    number, reason = signed.closing()
    assert 4000 <= number < 4100
    assert reason
    other.expect_silence()
    present.expect_silence()


def test_terminating_a_user_without_connections_is_no_error(main: Api, name: Name) -> None:
    """P47."""
    assert main.post(f"users/{name('user-')}/terminate_connections", {}).status_code == 200


@pytest.mark.parametrize("by", ["node", "Python"])
def test_pusher_js_is_disconnected_for_good_by_the_libraries(
    js: Start, node: Start, python: Any, name: Name, by: str
) -> None:
    """P47, P48: Python's library leaves `/apps/ID` out of the path."""
    user = name("user-")
    client = ready(js(user=user), user)
    if by == "node":
        assert node().call("terminate", user=user) == {"status": 200, "body": {}}
    else:
        python().terminate_user_connections(user)
    client.wait(kind="state", current="disconnected")
    assert client.call("state") == "disconnected"


def watch_events(message: dict[str, Any]) -> list[dict[str, Any]]:
    assert message["event"] == "pusher_internal:watchlist_events", message
    return list(json.loads(message["data"])["events"])


def statuses(messages: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the ids by status, sorted."""
    found: dict[str, list[str]] = {}
    for message in messages:
        for event in watch_events(message):
            found.setdefault(event["name"], []).extend(event["user_ids"])
    return {status: sorted(ids) for status, ids in found.items()}


def test_a_watchlist_tells_the_present_status_and_then_changes(connect: Connect, name: Name) -> None:
    """P49: online with the first connection, offline with the last."""
    watcher_id, online, offline = name("user-"), name("user-"), name("user-")
    signed_in(connect(), online)
    watcher = signed_in(connect(), watcher_id, watchlist=[online, offline])
    found: dict[str, list[str]] = {}
    while not ({online} <= set(found.get("online", [])) and {offline} <= set(found.get("offline", [offline]))):
        found |= statuses([watcher.message()])
    _drain_watchlist(watcher)
    first, second = signed_in(connect(), offline), signed_in(connect(), offline)
    assert watch_events(watcher.message()) == [{"name": "online", "user_ids": [offline]}]
    first.close()
    watcher.expect_silence()
    second.vanish()
    assert watch_events(watcher.message()) == [{"name": "offline", "user_ids": [offline]}]


def _drain_watchlist(watcher: RawClient) -> None:
    watcher.send("pusher:ping")
    watcher.until("pusher:pong")


def test_watching_does_not_cross_apps(connect: Connect, name: Name) -> None:
    """P49: nothing leaks across apps."""
    watched = name("user-")
    watcher = signed_in(connect(), name("user-"), watchlist=[watched])
    _drain_watchlist(watcher)
    signed_in(connect(OTHER), watched, OTHER)
    watcher.expect_silence()


def test_only_the_first_hundred_of_a_long_watchlist_are_watched(connect: Connect, name: Name) -> None:
    """P49, P8: with `pusher:error` 4302; the connection lives."""
    prefix = name("user-")
    watchlist = [f"{prefix}-{number}" for number in range(101)]
    client = connect()
    data = json.dumps({"id": name("user-"), "watchlist": watchlist})
    client.send("pusher:signin", {"auth": user_auth(MAIN, client.socket_id, data), "user_data": data})
    client.send("pusher:ping")
    messages = []
    while (message := client.message())["event"] != "pusher:pong":
        messages.append(message)
    assert "pusher:signin_success" in [message["event"] for message in messages]
    assert [m["data"]["code"] for m in messages if m["event"] == "pusher:error"] == [4302]
    signed_in(connect(), watchlist[100])
    client.expect_silence()
    signed_in(connect(), watchlist[99])
    assert watch_events(client.message()) == [{"name": "online", "user_ids": [watchlist[99]]}]


def test_an_app_without_watchlists_sends_none(connect: Connect, name: Name) -> None:
    """P49: a setting of the app."""
    watched = name("user-")
    watcher = signed_in(connect(UNWATCHED), name("user-"), UNWATCHED, watchlist=[watched])
    signed_in(connect(UNWATCHED), watched, UNWATCHED)
    watcher.expect_silence()


@pytest.mark.parametrize("watchlist", [7, {}, "ada", [7], [None], [[]], ["x" * 5_000]])
def test_a_malformed_watchlist_harms_nothing(connect: Connect, name: Name, watchlist: Any) -> None:
    """P49: the user is signed in or refused, and the server goes on."""
    client = connect()
    data = json.dumps({"id": name("user-"), "watchlist": watchlist})
    assert sign_in(client, data)["event"] in {"pusher:signin_success", "pusher:error", "pusher:signin_error"}
    connect().expect_silence()


def test_pusher_js_hears_of_watched_users(js: Start, connect: Connect, name: Name) -> None:
    """P49."""
    user, friend = name("user-"), name("user-")
    client = ready(js(user=user, watchlist=friend), user)
    signed_in(connect(), friend).close()
    online = client.wait(kind="watchlist", event="online")["data"]
    assert online == {"name": "online", "user_ids": [friend]}


def test_pusher_js_is_told_of_a_refused_sign_in(js: Start) -> None:
    """P44: by the server, if the site signed wrongly."""
    client = js(secret="wrong")
    client.wait(kind="state", current="connected")
    client.call("signin")
    client.wait(kind="error")
