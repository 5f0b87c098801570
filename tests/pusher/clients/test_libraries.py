"""The official libraries, pointed at the stand-in server by host, port and TLS alone."""

import json
from typing import Any

import pytest
from pusher import Pusher

from tests.pusher.clients.conftest import Join, Name, Start
from tests.pusher.clients.driver import Client, LibraryError
from tests.pusher.clients.signing import Api
from tests.pusher.clients.site import AppSite


def joined(client: Client, method: str, channel: str) -> None:
    """Subscribe with Echo, and wait for the answer."""
    client.call("subscribe", method=method, channel=channel)
    client.wait(kind="channel", channel=channel, event="subscribed")


def test_echo_listens_to_laravels_events_and_to_own_names(echo: Start, main: Api, name: Name) -> None:
    """P76: `listen("X")` is `App\\Events\\X`, and `listen(".x")` exactly `x`."""
    client, channel = echo(), name("news-")
    joined(client, "channel", channel)
    client.call("listen", method="channel", channel=channel, event="OrderShipped")
    client.call("listen", method="channel", channel=channel, event=".order.shipped")
    main.publish("App\\Events\\OrderShipped", channel, {"order": 1})
    assert client.wait(kind="heard", event="OrderShipped")["data"] == {"order": 1}
    main.publish("order.shipped", channel, {"order": 2})
    assert client.wait(kind="heard", event=".order.shipped")["data"] == {"order": 2}


def test_echo_joins_private_channels_by_its_own_endpoint(echo: Start, main: Api, site: AppSite, name: Name) -> None:
    """P24, P76: `/broadcasting/auth`."""
    client, channel = echo(), name("orders-")
    joined(client, "private", channel)
    assert any(f"private-{channel}" in r["body"] for r in site.webhooks("/broadcasting/auth"))
    client.call("listen", method="private", channel=channel, event=".e")
    main.publish("e", f"private-{channel}", {"n": 1})
    assert client.wait(kind="heard", event=".e")["data"] == {"n": 1}
    client.call("leave", channel=channel)
    main.publish("e", f"private-{channel}", {"n": 2})


def test_echo_hears_of_a_refused_subscription(echo: Start, name: Name) -> None:
    """P23: by `.error()`, for which `pusher:subscription_error` is needed."""
    client, channel = echo(secret="wrong"), name("orders-")
    client.call("subscribe", method="private", channel=channel)
    error = client.wait(kind="channel", channel=channel, event="error")["data"]
    assert error["type"] == "AuthError"
    assert error["status"] == 401


def test_echo_whispers(echo: Start, name: Name) -> None:
    """P42: `.whisper("typing")` sends `client-typing`."""
    ada, bob, channel = echo(), echo(), name("chat-")
    for client in (ada, bob):
        joined(client, "private", channel)
    bob.call("listen_for_whisper", method="private", channel=channel, event="typing")
    ada.call("whisper", method="private", channel=channel, event="typing", data={"name": "Ada"})
    assert bob.wait(kind="whisper", event="typing")["data"] == {"name": "Ada"}


def test_echo_knows_who_is_present(echo: Start, name: Name) -> None:
    """P27, P28, P76."""
    channel = name("room-")
    ada, bob = echo(user="ada"), echo(user="bob")
    joined(ada, "join", channel)
    assert ada.wait(kind="channel", event="here")["data"] == [{"name": "Ada"}]
    joined(bob, "join", channel)
    assert ada.wait(kind="channel", event="joining")["data"] == {"name": "Bob"}
    bob.call("leave", channel=channel)
    assert ada.wait(kind="channel", event="leaving")["data"] == {"name": "Bob"}


def test_echo_decrypts(echo: Start, python: Any, name: Name) -> None:
    """P25, P76."""
    client, channel = echo(), name("secret-")
    joined(client, "encryptedPrivate", channel)
    client.call("listen", method="encryptedPrivate", channel=channel, event=".e")
    python().trigger(f"private-encrypted-{channel}", "e", {"n": 1})
    assert client.wait(kind="heard", event=".e")["data"] == {"n": 1}


def test_a_request_that_names_echos_socket_is_not_echoed(echo: Start, python: Any, name: Name) -> None:
    """P55: as Laravel's `toOthers` and the header `X-Socket-ID` do it."""
    sender, other, channel = echo(), echo(), name("news-")
    for client in (sender, other):
        joined(client, "channel", channel)
        for event in (".e", ".last"):
            client.call("listen", method="channel", channel=channel, event=event)
    python().trigger(channel, "e", {}, sender.call("socket_id"))
    python().trigger(channel, "last", {})
    other.wait(kind="heard", event=".e")
    sender.wait(kind="heard", event=".last")
    assert sender.seen(kind="heard", event=".e") == []


def test_asyncpusher_subscribes_and_triggers(asyncpusher: Start, main: Api, join: Join, name: Name) -> None:
    """P1–P3, P14, P21, P26, P37: a Python client of the same protocol."""
    public, private, presence = name("news-"), name("private-"), name("presence-")
    client = asyncpusher(user="ada")
    assert "." in client.first_answer
    for channel in (public, private, presence):
        client.call("subscribe", channel=channel, events=["happened", "client-e"])
    main.publish("happened", public, {"n": 1})
    assert client.wait(kind="channel", channel=public, event="happened")["data"] == {"n": 1}
    other = join(private)
    client.call("trigger", channel=private, event="client-e", data={"n": 2})
    assert other.expect("client-e")["data"] == {"n": 2}
    assert [user["id"] for user in main.get(f"channels/{presence}/users").json()["users"]] == ["ada"]
    client.call("unsubscribe", channel=presence)


def test_nodes_library_signs_for_clients(node: Start, join: Join, connect: Any, name: Name) -> None:
    """P21, P22, P43, P79: the server accepts what the official library signs."""
    library, presence = node(), name("presence-")
    client = connect()
    member = {"user_id": "ada", "user_info": {"name": "ÆØÅ"}}
    signed = library.call("authorize", socket_id=client.socket_id, channel=presence, presence=member)
    answer = client.subscribe(presence, signed["auth"], signed["channel_data"])
    assert json.loads(answer["data"])["presence"]["hash"] == {"ada": {"name": "ÆØÅ"}}
    user = library.call("authenticate", socket_id=client.socket_id, user={"id": name("user-")})
    client.send("pusher:signin", {"auth": user["auth"], "user_data": user["user_data"]})
    client.expect("pusher:signin_success")


def test_the_libraries_themselves_refuse_what_the_server_would_refuse(node: Start, python: Any) -> None:
    """P56, P65, P78: so tests of these limits must sign by hand."""
    with pytest.raises(ValueError, match="Too many"):
        python().trigger([f"a{number}" for number in range(101)], "e", "x")
    with pytest.raises(LibraryError):
        node().call("trigger", channels="not good", event="e", data="x")
    with pytest.raises(ValueError, match="app id"):
        Pusher("letters", "key", "secret")
