"""The HTTP API: what it answers, in which order it checks, and what it does with bodies that are late or too large."""

import asyncio
import json
import time
from typing import Any

import pytest

from telltale.pusher.app_registry import find_by_id
from telltale.pusher.protocol.close_codes import TERMINATED
from telltale.pusher.protocol.user_data import Member, User
from telltale.pusher.pusher_apps import PusherApp
from telltale.pusher.server.api import body as api_body
from telltale.pusher.server.api import http_api
from telltale.pusher.server.api.body import DISCARD_BYTES
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.api.api_caller import DISABLED, MAIN, OTHER, Body, connect, get, post, run, send, signed

EVENT = {"name": "e", "channel": "news", "data": "x"}


@pytest.fixture(autouse=True)
def apps(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_APPS": [MAIN, OTHER, DISABLED]}


def app(app_id: str = "1") -> PusherApp:
    found = find_by_id(app_id)
    assert found is not None
    return found


def subscribed(server: PusherServer, channel: str, member: Member | None = None, app_id: str = "1") -> Any:
    """Return the line of a new subscriber."""
    client, outlet = connect(server, app(app_id))
    server.subscribe(client, channel, member)
    return outlet


def test_an_event_reaches_the_subscribers_of_its_app() -> None:
    """P54: and those of no other app."""

    async def test(server: PusherServer) -> None:
        line, foreign = subscribed(server, "news"), subscribed(server, "news", app_id="2")
        answer = await post(server, "events", EVENT)
        assert (answer.status, answer.content) == (200, {})
        assert line.events() == [("e", "news", "x")]
        assert foreign.events() == []

    run(test)


def test_a_refused_request_publishes_nothing() -> None:
    """P52, P58, P60."""

    async def test(server: PusherServer) -> None:
        line = subscribed(server, "news")
        body = json.dumps(EVENT).encode()
        query = signed("POST", "/apps/1/events", body)
        for parameters, sent in (
            ({**query, "auth_signature": "0" * 64}, body),
            (query, body.replace(b"x", b"y")),
            (signed("POST", "/apps/1/events", body, app=OTHER), body),
            (signed("POST", "/apps/1/events", body, age_s=700), body),
            (signed("POST", "/apps/1/events"), body),
        ):
            answer = await send(server, "POST", "/apps/1/events", parameters, sent)
            assert answer is not None
            assert answer.status == 401
        assert (await post(server, "batch_events", {"batch": [EVENT, {}]})).status == 400
        assert (await post(server, "events", {**EVENT, "data": "x" * 10_241})).status == 413
        assert line.events() == []

    run(test)


def test_a_recorded_request_is_not_taken_again() -> None:
    """P52: nor is a recorded command; each server remembers its own requests."""

    async def test(server: PusherServer) -> None:
        line = subscribed(server, "news")
        body = json.dumps(EVENT).encode()
        for path, sent in (("/apps/1/events", body), ("/apps/1/users/7/terminate_connections", b"{}")):
            query = signed("POST", path, sent, age_s=60)
            answers = [await send(server, "POST", path, query, sent) for _ in range(2)]
            assert [answer.status for answer in answers if answer] == [200, 401]
            assert answers[1] is not None
            assert "was accepted already" in answers[1].error
        assert line.events() == [("e", "news", "x")]

    run(test)
    run(test)


def test_equal_events_of_one_second_are_all_published() -> None:
    """P50."""

    async def test(server: PusherServer) -> None:
        line = subscribed(server, "news")
        body = json.dumps(EVENT).encode()
        query = signed("POST", "/apps/1/events", body)
        for _ in range(3):
            answer = await send(server, "POST", "/apps/1/events", query, body)
            assert answer is not None
            assert answer.status == 200
        assert len(line.events()) == 3

    run(test)


def test_a_get_may_be_repeated() -> None:
    """P50."""

    async def test(server: PusherServer) -> None:
        query = signed("GET", "/apps/1/channels", age_s=60)
        for _ in range(2):
            answer = await send(server, "GET", "/apps/1/channels", query)
            assert answer is not None
            assert answer.status == 200

    run(test)


def test_an_event_for_a_user_reaches_all_connections_of_that_user() -> None:
    """P46: it is an ordinary event for the user's own channel."""

    async def test(server: PusherServer) -> None:
        lines = [subscribed(server, "#server-to-user-7"), subscribed(server, "#server-to-user-7")]
        other = subscribed(server, "#server-to-user-8")
        assert (await post(server, "events", {**EVENT, "channel": "#server-to-user-7"})).status == 200
        assert [line.events() for line in lines] == [[("e", "#server-to-user-7", "x")]] * 2
        assert other.events() == []

    run(test)


@pytest.mark.parametrize("path", ["/apps/1/users/{}/terminate_connections", "/users/{}/terminate_connections"])
@pytest.mark.parametrize(("user_id", "sent"), [("7", "7"), ("a b/ø", "a%20b%2F%C3%B8"), ("@;=", "@;=")])
def test_a_users_connections_are_closed(path: str, user_id: str, sent: str) -> None:
    """P47, P48: by the address with the app's id, and by the one without; the path may be signed as it is sent."""

    async def test(server: PusherServer) -> None:
        for name in (user_id, sent):
            client, line = connect(server, app())
            server.sign_in(client, User(id=user_id, data=json.dumps({"id": user_id})))
            other, other_line = connect(server, app("2"))
            server.sign_in(other, User(id=user_id, data=json.dumps({"id": user_id})))
            query = signed("POST", path.format(name), b"{}")
            answer = await send(server, "POST", path.format(sent), query, b"{}")
            assert answer is not None
            assert (answer.status, answer.content) == (200, {})
            assert line.ended == TERMINATED
            assert other_line.ended is None

    run(test)


def test_the_short_address_needs_a_known_key() -> None:
    """P48, P52."""

    async def test(server: PusherServer) -> None:
        path = "/users/7/terminate_connections"
        answer = await send(server, "POST", path, signed("POST", path, app={"KEY": "x", "SECRET": "y"}), b"")
        assert answer is not None
        assert (answer.status, answer.error) == (401, "No app has this auth_key.")

    run(test)


def test_channels_are_listed_with_what_is_asked_for() -> None:
    """P61: occupied ones of the own app; users' own channels are not listed."""

    async def test(server: PusherServer) -> None:
        for channel in ("news", "news", "private-a", "#server-to-user-7"):
            subscribed(server, channel)
        subscribed(server, "presence-a", Member("ada", None))
        subscribed(server, "secret", app_id="2")
        assert (await get(server, "channels")).content == {"channels": {"news": {}, "private-a": {}, "presence-a": {}}}
        counted = await get(server, "channels", info="subscription_count", filter_by_prefix="n")
        assert counted.content == {"channels": {"news": {"subscription_count": 2}}}
        users = await get(server, "channels", info="user_count", filter_by_prefix="presence-")
        assert users.content == {"channels": {"presence-a": {"user_count": 1}}}
        assert (await get(server, "channels", info="user_count")).status == 400
        assert (await get(server, "channels", info="cache")).status == 400

    run(test)


def test_thousands_of_channels_are_listed() -> None:
    """P61."""

    async def test(server: PusherServer) -> None:
        client, _line = connect(server, app())
        for number in range(http_api.LARGE + 1):
            server.subscribe(client, f"c{number}", None)
        assert len((await get(server, "channels")).content["channels"]) == http_api.LARGE + 1

    run(test)


def test_a_channel_tells_whether_it_is_occupied_and_its_attributes() -> None:
    """P62."""

    async def test(server: PusherServer) -> None:
        subscribed(server, "news")
        subscribed(server, "presence-a", Member("ada", None))
        subscribed(server, "presence-a", Member("ada", None))
        assert (await get(server, "channels/news")).content == {"occupied": True}
        assert (await get(server, "channels/never-seen")).content == {"occupied": False}
        assert (await get(server, "channels/news", app=OTHER)).content == {"occupied": False}
        counted = await get(server, "channels/news", info="subscription_count")
        assert counted.content == {"occupied": True, "subscription_count": 1}
        users = await get(server, "channels/presence-a", info="user_count")
        assert users.content == {"occupied": True, "user_count": 1}
        for channel, info in (("news", "user_count"), ("presence-a", "subscription_count"), ("news", "cache")):
            assert info in (await get(server, f"channels/{channel}", info=info)).error

    run(test)


def test_the_last_event_of_a_cache_channel_is_told_with_its_time_to_live() -> None:
    """P62."""

    async def test(server: PusherServer) -> None:
        path = "channels/cache-a"
        assert (await get(server, path, info="cache")).content == {"occupied": False, "cache": None}
        await post(server, "events", {**EVENT, "channel": "cache-a", "data": '{"n":1}'})
        cached = (await get(server, path, info="cache")).content["cache"]
        assert cached["data"] == '{"n":1}'
        assert 1_700 < cached["ttl"] <= 1_800
        assert isinstance(cached["ttl"], int)
        assert (await get(server, path, app=OTHER, info="cache")).content["cache"] is None

    run(test)


def test_users_of_a_presence_channel_are_listed_once_each() -> None:
    """P63."""

    async def test(server: PusherServer) -> None:
        for user_id in ("ada", "ada", "bob"):
            subscribed(server, "presence-a", Member(user_id, {"name": user_id}))
        assert (await get(server, "channels/presence-a/users")).content == {"users": [{"id": "ada"}, {"id": "bob"}]}
        assert (await get(server, "channels/presence-b/users")).content == {"users": []}
        assert (await get(server, "channels/presence-a/users", app=OTHER)).content == {"users": []}
        assert "only presence channels" in (await get(server, "channels/news/users")).error

    run(test)


@pytest.mark.parametrize("channel", ["a%20b", "a%0A", "%C3%A9", "x" * 201, "%23news"])
@pytest.mark.parametrize("rest", ["", "/users"])
def test_invalid_names_of_channels_are_refused(channel: str, rest: str) -> None:
    """P58."""

    async def test(server: PusherServer) -> None:
        path = f"/apps/1/channels/{channel}{rest}"
        answer = await send(server, "GET", path, signed("GET", path))
        assert answer is not None
        assert (answer.status, "no valid name" in answer.error) == (400, True)

    run(test)


def test_info_is_told_after_an_event_and_in_a_batch() -> None:
    """P59, P60."""

    async def test(server: PusherServer) -> None:
        subscribed(server, "news")
        subscribed(server, "presence-a", Member("ada", None))
        several = {
            "name": "e",
            "data": "x",
            "channels": ["news", "presence-a"],
            "info": "user_count,subscription_count",
        }
        told = {"news": {"subscription_count": 1}, "presence-a": {"user_count": 1}}
        assert (await post(server, "events", several)).content == {"channels": told}
        batch = [{**EVENT, "info": "subscription_count"}, EVENT]
        answer = await post(server, "batch_events", {"batch": batch})
        assert answer.content == {"batch": [{"subscription_count": 1}, {}]}
        assert (await post(server, "batch_events", {"batch": [EVENT]})).content == {}

    run(test)


# Addresses and authentication --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signed_path", "mount", "scope"),
    [
        ("/pusher/apps/1/channels", "/pusher", {}),
        ("/pusher/apps/1/channels", "/pusher", {"raw_path": None}),
        ("/apps/1/channels", "/pusher", {}),
        ("/pusher/apps/1/channels", "", {"root_path": "/pusher"}),
        ("/apps/1/channels", "", {"root_path": "/pusher"}),
        ("/apps/1/channels", "", {"raw_path": None}),
    ],
)
def test_the_path_is_signed_with_or_without_the_prefix(signed_path: str, mount: str, scope: dict[str, Any]) -> None:
    """P50: whether the server is mounted below it, or a proxy takes it off and says so by `root_path`."""

    async def test(server: PusherServer) -> None:
        answer = await send(server, "GET", "/apps/1/channels", signed("GET", signed_path), mount=mount, **scope)
        assert answer is not None
        assert answer.status == 200
        wrong = await send(server, "GET", "/apps/1/channels", signed("GET", "/x" + signed_path), mount=mount, **scope)
        assert wrong is not None
        assert wrong.status == 401

    run(test)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/apps/1/events", "POST"),
        ("PUT", "/apps/1/batch_events", "POST"),
        ("POST", "/apps/1/channels", "GET"),
        ("DELETE", "/apps/1/channels/news", "GET"),
        ("HEAD", "/apps/1/channels/presence-a/users", "GET"),
        ("GET", "/apps/1/users/7/terminate_connections", "POST"),
        ("OPTIONS", "/users/7/terminate_connections", "POST"),
    ],
)
def test_a_wrong_method_is_refused_with_the_right_one(method: str, path: str, allowed: str) -> None:
    """P64."""

    async def test(server: PusherServer) -> None:
        answer = await send(server, method, path, signed(method, path))
        assert answer is not None
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert f"use {allowed}" in answer.error

    run(test)


@pytest.mark.parametrize(
    "path", ["/apps", "/apps/1", "/apps/1/", "/apps/1/nothing", "/apps/1/channels/a/b", "/apps/1/events/", "/users/7"]
)
def test_an_unknown_address_is_not_found(path: str) -> None:
    """P64."""

    async def test(server: PusherServer) -> None:
        answer = await send(server, "GET", path, signed("GET", path))
        assert answer is not None
        assert (answer.status, "the HTTP API is below /apps/ID/" in answer.error) == (404, True)

    run(test)


@pytest.mark.parametrize("app_id", ["99", "x", "1 ", "01", "%2E"])
def test_an_unknown_app_is_not_found(app_id: str) -> None:
    """P52."""

    async def test(server: PusherServer) -> None:
        path = f"/apps/{app_id}/channels"
        answer = await send(server, "GET", path, signed("GET", path))
        assert answer is not None
        assert (answer.status, "No app has the id" in answer.error) == (404, True)

    run(test)


def test_a_disabled_app_is_forbidden_for_its_own_servers() -> None:
    """P52: a request that is not signed by its secret learns nothing about it."""

    async def test(server: PusherServer) -> None:
        answer = await get(server, "channels", app=DISABLED)
        assert (answer.status, answer.error) == (403, "The app 3 is disabled: enable it on the server.")
        assert (await post(server, "events", EVENT, app=DISABLED)).status == 403
        stranger = await send(server, "GET", "/apps/3/channels", signed("GET", "/apps/3/channels", app=MAIN))
        assert stranger is not None
        assert stranger.status == 401

    run(test)


def test_while_the_apps_are_not_known_the_client_is_asked_to_return(settings: Any, monkeypatch: Any) -> None:
    """P52: an unknown id would look like a wrong configuration."""
    monkeypatch.setattr("telltale.pusher.app_registry.REFRESH_S", 0.01)
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_APPS": f"{__name__}.unavailable_apps"}

    async def test(server: PusherServer) -> None:
        answer = await get(server, "channels")
        assert (answer.status, answer.headers["retry-after"]) == (503, "3")
        assert "try again in a few seconds" in answer.error

    run(test)


def unavailable_apps() -> list[Any]:
    raise OSError("The database is down.")


# Bodies ------------------------------------------------------------------------------------------


def test_a_body_may_arrive_in_parts() -> None:
    async def test(server: PusherServer) -> None:
        line = subscribed(server, "news")
        body = json.dumps(EVENT).encode()
        parts = Body(*(body[at : at + 7] for at in range(0, len(body), 7)), b"")
        answer = await send(server, "POST", "/apps/1/events", signed("POST", "/apps/1/events", body), parts)
        assert answer is not None
        assert answer.status == 200
        assert line.events() == [("e", "news", "x")]

    run(test)


def test_a_body_that_is_announced_as_too_large_is_not_read() -> None:
    """P57."""

    async def test(server: PusherServer) -> None:
        headers = [(b"Content-Length", b"%d" % (DISCARD_BYTES + 1))]
        answer = await send(
            server, "POST", "/apps/1/events", signed("POST", "/apps/1/events", b"x"), Body(), headers=headers
        )
        assert answer is not None
        assert (answer.status, answer.received, answer.headers["connection"]) == (413, 0, "close")
        assert "The body of the request has more than" in answer.error

    run(test)


def test_a_body_without_a_length_is_read_up_to_the_limit() -> None:
    """P57: what a client still sends is dropped, so that it reads the answer, up to a limit too."""

    async def test(server: PusherServer) -> None:
        parts = [b"x" * 65_536] * 100
        query = signed("POST", "/apps/1/events", b"x")
        answer = await send(server, "POST", "/apps/1/events", query, Body(*parts))
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert answer.received < 40
        ended = await send(server, "POST", "/apps/1/events", query, Body(*parts[:16]))
        assert ended is not None
        assert (ended.status, ended.received, "connection" in ended.headers) == (413, 16, False)

    run(test)


def test_a_get_has_no_large_body() -> None:
    async def test(server: PusherServer) -> None:
        query = signed("GET", "/apps/1/channels", b"x" * 5_000)
        answer = await send(server, "GET", "/apps/1/channels", query, b"x" * 5_000)
        assert answer is not None
        assert answer.status == 413

    run(test)


def test_a_connection_goes_on_after_a_refusal() -> None:
    """P64: the body was read, although it was not needed."""

    async def test(server: PusherServer) -> None:
        answer = await send(server, "POST", "/apps/1/events", b"", json.dumps(EVENT).encode())
        assert answer is not None
        assert (answer.status, answer.received, "connection" in answer.headers) == (401, 1, False)

    run(test)


@pytest.mark.parametrize("is_signed", [True, False])
def test_a_body_that_does_not_come_ends_the_connection(is_signed: bool, monkeypatch: Any) -> None:
    """P64: before and after the authentication."""
    monkeypatch.setattr(api_body, "BODY_S", 0.05)

    async def test(server: PusherServer) -> None:
        query = signed("POST", "/apps/1/events", b"{}") if is_signed else {}
        answer = await send(server, "POST", "/apps/1/events", query, Body(b"{", is_complete=False))
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (408 if is_signed else 401, "close")
        newer = await send(server, "POST", "/apps/1/events", query, Body(is_complete=False), http_version="2")
        assert newer is not None
        assert "connection" not in newer.headers

    run(test)


@pytest.mark.parametrize("is_signed", [True, False])
def test_the_event_of_a_client_that_disconnects_before_its_body_is_complete_is_dropped(is_signed: bool) -> None:
    async def test(server: PusherServer) -> None:
        line = subscribed(server, "news")
        body = json.dumps(EVENT).encode()
        query = signed("POST", "/apps/1/events", body) if is_signed else {}
        leaving = Body(body, is_complete=False, disconnects=True)
        assert await send(server, "POST", "/apps/1/events", query, leaving) is None
        assert line.events() == []

    run(test)


def test_requests_are_answered_while_another_ones_body_is_awaited() -> None:
    async def test(server: PusherServer) -> None:
        query = signed("POST", "/apps/1/events", b"{}")
        waiting = asyncio.ensure_future(send(server, "POST", "/apps/1/events", query, Body(b"{", is_complete=False)))
        assert (await get(server, "channels")).status == 200
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    run(test)


def test_the_clock_is_that_of_the_day() -> None:
    """P50: a timestamp is compared with seconds since 1970, and not with the loop's clock."""

    async def test(server: PusherServer) -> None:
        assert (await get(server, "channels", auth_timestamp=f"{time.time() - 599:.0f}")).status == 200
        assert (await get(server, "channels", auth_timestamp=f"{time.time() + 610:.0f}")).status == 401

    run(test)
