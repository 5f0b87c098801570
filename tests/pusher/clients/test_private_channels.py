"""Private and encrypted channels: signatures of subscriptions."""

import json
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.pusher.clients.apps import MAIN, OTHER, App
from tests.pusher.clients.conftest import Connect, Join, Name, Start
from tests.pusher.clients.signing import Api, channel_auth, digest
from tests.pusher.clients.site import MASTER_KEY, AppSite

SECRET = "7ad3773142a6692b25b8"


def test_the_signatures_are_those_of_the_documentation() -> None:
    """P21, P22, P43: the tests sign by themselves, so check them first."""
    assert digest(SECRET, "1234.1234:private-foobar").startswith("58df8b0c36d6982b")
    presence = '1234.1234:presence-foobar:{"user_id":10,"user_info":{"name":"Mr. Channels"}}'
    assert digest(SECRET, presence).startswith("31935e7d86dba64c")
    assert digest(SECRET, '1234.1234::user::{"id":"12345"}').startswith("4708d583dada6a56")


def test_a_signed_subscription_to_a_private_channel_succeeds(connect: Connect, name: Name) -> None:
    """P21."""
    client, channel = connect(), name("private-")
    answer = client.subscribe(channel, channel_auth(MAIN, client.socket_id, channel))
    assert answer == {"event": "pusher_internal:subscription_succeeded", "channel": channel, "data": "{}"}


@pytest.mark.parametrize(
    "channel_data", ['{"user_id":"1"}', '{ "user_id" : "1" ,\n"x":"\\u00e6 é"}', '{"user_id":"1","user_info":1.50}']
)
def test_channel_data_is_signed_byte_for_byte(connect: Connect, name: Name, channel_data: str) -> None:
    """P22, on private and presence channels."""
    for channel in (name("private-"), name("presence-")):
        client = connect()
        answer = client.subscribe(channel, channel_auth(MAIN, client.socket_id, channel, channel_data), channel_data)
        assert answer["event"] == "pusher_internal:subscription_succeeded", answer


def test_channel_data_that_was_not_signed_is_refused(connect: Connect, name: Name) -> None:
    """P22: neither added nor altered nor taken away."""
    client, channel = connect(), name("presence-")
    data, altered = '{"user_id":"1"}', '{"user_id": "1"}'
    signed, unsigned = (
        channel_auth(MAIN, client.socket_id, channel, data),
        channel_auth(MAIN, client.socket_id, channel),
    )
    for auth, sent in ((signed, altered), (signed, None), (unsigned, data)):
        client.ask_for(channel, auth, sent)
        client.refusal(channel)


def wrong_auths(app: App, socket_id: str, other_id: str, channel: str) -> dict[str, str | None]:
    right = channel_auth(app, socket_id, channel)
    key, signature = right.split(":")
    return {
        "none": None,
        "empty": "",
        "only the key": key,
        "only the signature": signature,
        "another app's key": f"{OTHER.key}:{signature}",
        "another app's signature": channel_auth(OTHER, socket_id, channel),
        "an unknown key": f"nobodys-key:{signature}",
        "another socket's": channel_auth(app, other_id, channel),
        "another channel's": channel_auth(app, socket_id, channel + "x"),
        "one digit altered": right[:-1] + ("0" if right[-1] != "0" else "1"),
        "cut short": right[:-1],
        "extended": right + "0",
        "upper case": f"{key}:{signature.upper()}",
        "not ASCII": f"{key}:é{signature}",
        "a public channel's emptiness": ":",
    }


@pytest.mark.parametrize("kind", list(wrong_auths(MAIN, "1.1", "2.2", "private-x")))
def test_a_wrong_signature_is_refused_and_the_connection_stays(
    connect: Connect, main: Api, name: Name, kind: str
) -> None:
    """P23: the right signature is not told, nothing is received, and the right one is accepted afterwards."""
    client, other, channel = connect(), connect(), name("private-")
    client.ask_for(channel, wrong_auths(MAIN, client.socket_id, other.socket_id, channel)[kind])
    data = client.refusal(channel)
    right = channel_auth(MAIN, client.socket_id, channel)
    assert right.split(":")[1] not in json.dumps(data)
    main.publish("e", channel, "secret")
    client.expect_silence()
    assert client.subscribe(channel, right)["event"] == "pusher_internal:subscription_succeeded"


@pytest.mark.parametrize("auth", [7, ["x"], {"key": "x"}, True])
def test_a_signature_that_is_no_string_is_refused(connect: Connect, name: Name, auth: Any) -> None:
    """P23."""
    client, channel = connect(), name("private-")
    client.send("pusher:subscribe", {"channel": channel, "auth": auth})
    client.refusal(channel)


def test_pusher_js_asks_the_site_and_joins_a_private_channel(js: Start, main: Api, site: AppSite, name: Name) -> None:
    """P21, P24: the request is form-encoded, with the socket's id and the channel's name."""
    client, channel = js(), name("private-")
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    request = next(r for r in site.webhooks("/pusher/auth") if channel in r["body"])
    assert request["headers"]["Content-Type"].startswith("application/x-www-form-urlencoded")
    assert parse_qs(request["body"]) == {"socket_id": [client.call("socket_id")], "channel_name": [channel]}
    main.publish("happened", channel, {"n": 1})
    assert client.wait(kind="channel", event="happened")["data"] == {"n": 1}


def test_pusher_js_tells_the_channel_of_a_signature_that_the_server_refuses(js: Start, name: Name) -> None:
    """P23: `pusher:subscription_error` reaches the channel's own handlers, and the connection stays."""
    client, channel, public = js(secret="wrong"), name("private-"), name("news-")
    client.call("subscribe", channel=channel)
    error = client.wait(kind="channel", channel=channel, event="pusher:subscription_error")["data"]
    assert error["type"] == "AuthError"
    assert error["status"] == 401
    client.call("subscribe", channel=public)
    client.wait(kind="channel", channel=public, event="pusher:subscription_succeeded")
    assert client.call("state") == "connected"


def test_pusher_js_tells_the_channel_of_a_site_that_refuses(js: Start, main: Api, name: Name) -> None:
    """P24: a local error; the server hears nothing."""
    client, channel = js(status="403"), name("private-")
    client.call("subscribe", channel=channel)
    error = client.wait(kind="channel", channel=channel, event="pusher:subscription_error")["data"]
    assert error["status"] == 403
    assert main.get(f"channels/{channel}").json()["occupied"] is False


def test_after_a_refusal_pusher_js_can_subscribe_once_it_has_reconnected(js: Start, name: Name) -> None:
    """P32: until then it sends nothing for this channel."""
    client, channel = js(secret="wrong"), name("private-")
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_error")
    client.call("disconnect")
    client.wait(kind="state", current="disconnected")
    client.call("reconnect")
    client.wait(kind="channel", channel=channel, event="pusher:subscription_error")


def test_encrypted_events_pass_through_and_pusher_js_decrypts_them(js: Start, python: Any, name: Name) -> None:
    """P25: Python encrypts, pusher-js decrypts, and the server sees neither key nor text."""
    client, channel = js(), name("private-encrypted-")
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    python().trigger(channel, "happened", {"secret": "ÆØÅ"})
    assert client.wait(kind="channel", event="happened")["data"] == {"secret": "ÆØÅ"}
    raw = client.wait(kind="message", event="happened")["data"]
    assert set(raw) == {"nonce", "ciphertext"}


def test_node_encrypts_and_pusher_js_decrypts(js: Start, node: Start, name: Name) -> None:
    """P25."""
    client, channel = js(), name("private-encrypted-")
    client.call("subscribe", channel=channel)
    client.wait(kind="channel", channel=channel, event="pusher:subscription_succeeded")
    node(encryptionMasterKeyBase64=MASTER_KEY).call("trigger", channels=channel, event="happened", data={"n": 1})
    assert client.wait(kind="channel", event="happened")["data"] == {"n": 1}


def test_an_encrypted_channel_needs_a_signature(connect: Connect, join: Join, name: Name) -> None:
    """P25, P21: for the server it is a private channel."""
    client, channel = connect(), name("private-encrypted-")
    client.ask_for(channel)
    client.refusal(channel)
    join(channel).expect_silence()
