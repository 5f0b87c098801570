"""Requests to the HTTP API: which signatures hold, and which are refused with a reason."""

import hashlib
import json
import time
from typing import Any

import pytest

from tests.pusher.clients.apps import DISABLED, MAIN, OTHER, App
from tests.pusher.clients.conftest import Join, Name
from tests.pusher.clients.signing import Api

BODY = b'{"name":"e","channel":"news","data":"x"}'


def test_the_signed_text_is_that_of_the_documentation() -> None:
    """P50: the tests sign by themselves, so check it first."""
    app = App(id="3", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")
    api = Api("http://127.0.0.1", app)
    body = b'{"name":"foo","channels":["project-3"],"data":"{\\"some\\":\\"data\\"}"}'
    query = api.signed("POST", "events", body, {"auth_timestamp": "1353088179"})
    api.close()
    assert query["body_md5"] == "ec365a775a4cd0599faeb73354201b6f"
    assert query["auth_signature"].startswith("da454824c97ba181")


def refused(answer: Any, *statuses: int) -> str:
    """Return the reason of a refusal, which tells no secret."""
    assert answer.status_code in (statuses or (401,)), answer.text
    assert len(answer.text) > 20
    assert MAIN.secret not in answer.text
    return str(answer.text)


@pytest.mark.parametrize("missing", ["auth_key", "auth_timestamp", "auth_version", "auth_signature", "body_md5"])
def test_a_request_without_one_of_its_parameters_is_refused(main: Api, missing: str) -> None:
    """P50, P52: signed as it is sent. The reason names what is missing."""
    query = main.signed("POST", "events", BODY, {})
    del query["auth_signature"], query[missing if missing != "auth_signature" else "auth_key"]
    if missing != "auth_signature":
        query = main.with_signature("POST", "events", query)
    assert missing in refused(main.send_as("POST", "events", BODY, query)) or missing == "auth_signature"


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("auth_key", "nobodys-key"),
        ("auth_key", OTHER.key),
        ("auth_key", ""),
        ("auth_version", "2.0"),
        ("auth_timestamp", "now"),
        ("auth_timestamp", ""),
        ("auth_timestamp", "1e400"),
        ("auth_timestamp", "nan"),
        ("auth_timestamp", "9" * 5_000),
        ("auth_timestamp", "-1"),
        ("body_md5", ""),
        ("body_md5", "0" * 32),
        ("body_md5", "é"),
    ],
)
def test_wrong_values_are_refused_though_they_are_signed(main: Api, parameter: str, value: str) -> None:
    """P52."""
    refused(main.send("POST", "events", BODY, {parameter: value}))


@pytest.mark.parametrize("signature", ["", "x", "0" * 64, "é", "0" * 10_000])
def test_wrong_signatures_are_refused_and_the_right_one_is_not_told(main: Api, signature: str) -> None:
    """P52."""
    query = main.signed("POST", "events", BODY, {})
    reason = refused(main.send_as("POST", "events", BODY, query | {"auth_signature": signature}))
    assert query["auth_signature"] not in reason


@pytest.mark.parametrize("skew_s", [-590, 590])
def test_clocks_may_differ_by_ten_minutes(main: Api, skew_s: int) -> None:
    """P50."""
    assert main.send("POST", "events", BODY, {"auth_timestamp": str(int(time.time()) + skew_s)}).status_code == 200
    assert main.get("channels", auth_timestamp=str(int(time.time()) + skew_s)).status_code == 200


@pytest.mark.parametrize("skew_s", [-660, 660, -1_000_000_000])
def test_a_stale_or_future_timestamp_is_refused(main: Api, skew_s: int) -> None:
    """P52: the reason names the clock or the time."""
    stamp = str(int(time.time()) + skew_s)
    reason = refused(main.send("POST", "events", BODY, {"auth_timestamp": stamp}))
    assert "time" in reason.lower()
    refused(main.get("channels", auth_timestamp=stamp))


def test_an_altered_body_is_refused(join: Join, main: Api, name: Name) -> None:
    """P52: its digest does not fit; a fitting digest does not fit the signature."""
    channel = name("news-")
    client = join(channel)
    body = json.dumps({"name": "e", "channel": channel, "data": "right"}).encode()
    altered = body.replace(b"right", b"wrong")
    query = main.signed("POST", "events", body, {})
    refused(main.send_as("POST", "events", altered, query))
    digest = hashlib.md5(altered, usedforsecurity=False).hexdigest()
    refused(main.send_as("POST", "events", altered, query | {"body_md5": digest}))
    client.expect_silence()


def test_an_altered_query_path_or_method_is_refused(main: Api, name: Name) -> None:
    """P52."""
    query = main.signed("GET", "channels", None, {"filter_by_prefix": "a"})
    refused(main.send_as("GET", "channels", None, query | {"filter_by_prefix": "b"}))
    refused(main.send_as("GET", "channels", None, query | {"info": "subscription_count"}))
    refused(main.send_as("GET", f"channels/{name('news-')}", None, query))
    refused(main.send_as("POST", "events", BODY, main.signed("GET", "events", BODY, {})))


def test_a_request_is_not_taken_again_long_after_it_was_made(join: Join, main: Api, name: Name) -> None:
    """P52, and "replayed request" of the bad input: within the clocks' tolerance a replay has a valid timestamp."""
    channel = name("news-")
    client = join(channel)
    body = json.dumps({"name": "e", "channel": channel, "data": "x"}).encode()
    query = main.signed("POST", "events", body, {"auth_timestamp": str(int(time.time()) - 300)})
    assert main.send_as("POST", "events", body, query).status_code == 200
    client.expect("e")
    reason = refused(main.send_as("POST", "events", body, query))
    assert "again" in reason or "replay" in reason.lower() or "already" in reason
    client.expect_silence()


def test_two_equal_events_within_a_second_are_both_published(join: Join, main: Api, name: Name) -> None:
    """P50: libraries sign with whole seconds, so equal requests have equal signatures."""
    channel = name("news-")
    client = join(channel)
    body = json.dumps({"name": "e", "channel": channel, "data": "x"}).encode()
    query = main.signed("POST", "events", body, {})
    for _ in range(3):
        assert main.send_as("POST", "events", body, query).status_code == 200
    for _ in range(3):
        client.expect("e")


def test_a_get_may_carry_the_digest_of_an_empty_body(main: Api) -> None:
    """P51: as Python's library sends it; node's does not."""
    empty = hashlib.md5(b"", usedforsecurity=False).hexdigest()
    assert main.get("channels", body_md5=empty).status_code == 200
    assert main.get("channels").status_code == 200


@pytest.mark.parametrize("prefix", ["a=b", "a&b", "a%20b", "é ", "%2e", "a+b", "😀", "+", "="])
def test_values_are_decoded_once_and_then_signed(main: Api, prefix: str) -> None:
    """P50, P51: not escaped in the signed text."""
    answer = main.get("channels", filter_by_prefix=prefix)
    assert (answer.status_code, answer.json()) == (200, {"channels": {}})


def test_parameters_are_sorted_by_their_lower_cased_names(main: Api) -> None:
    """P50."""
    assert main.get("channels", Zeta="1", alpha="2", Beta="3").status_code == 200


def test_unknown_app_ids_are_not_found(main: Api) -> None:
    """P52: or refused; with a signature of a known app."""
    for path in ("/apps/99/channels", "/apps/x/channels", f"/apps/{OTHER.id}/channels"):
        refused(main.send("GET", path, None, {}), 401, 404)


def test_another_apps_key_opens_nothing(api: Any, join: Join, name: Name) -> None:
    """P52: nothing leaks across apps, in reading and in publishing."""
    channel = name("presence-")
    client = join(channel, "ada")
    foreign: Api = api(OTHER)
    body = json.dumps({"name": "e", "channel": channel, "data": "x"}).encode()
    for method, path, sent in (
        ("GET", f"/apps/{MAIN.id}/channels", None),
        ("GET", f"/apps/{MAIN.id}/channels/{channel}/users", None),
        ("POST", f"/apps/{MAIN.id}/events", body),
        ("POST", f"/apps/{MAIN.id}/users/ada/terminate_connections", b"{}"),
    ):
        refused(foreign.send(method, path, sent, {}), 401, 404)
    assert foreign.get(f"channels/{channel}").json()["occupied"] is False
    assert foreign.post("events", {"name": "e", "channel": channel, "data": "x"}).status_code == 200
    client.expect_silence()


def test_a_disabled_app_is_forbidden(api: Any) -> None:
    """P52."""
    refused(api(DISABLED).get("channels"), 403)
    refused(api(DISABLED).post("events", {"name": "e", "channel": "a", "data": "x"}), 403)
