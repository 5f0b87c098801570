"""Sign-in, a user's own channel, terminated connections, watchlists."""

import json
from dataclasses import replace
from typing import Any

import pytest

from telltale.pusher.protocol.close_codes import (
    TERMINATED,
)
from telltale.pusher.protocol.signatures import auth_token
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.local_clients import APP, api_event, connected, on_a_server, run, subscribed


@on_a_server
async def test_a_user_signs_in(server: PusherServer) -> None:
    """P43, P44."""
    client = connected(server)
    client.sign_in(id="7", user_info={"name": "Ada"})
    [message] = client.take()
    assert message["event"] == "pusher:signin_success"
    assert json.loads(message["data"]["user_data"]) == {"id": "7", "user_info": {"name": "Ada"}}


@pytest.mark.parametrize(
    "user", [{}, {"id": ""}, {"id": 7}, {"id": None}, {"id": "7", "watchlist": "8"}, {"id": "x" * 129}]
)
def test_a_sign_in_with_wrong_data_is_refused(user: dict[str, Any]) -> None:
    """P43, P44."""

    async def test(server: PusherServer) -> None:
        client = connected(server)
        client.sign_in(**user)
        [message] = client.take()
        assert (message["event"], message["data"]["code"]) == ("pusher:error", 4009)
        assert client.client.user is None
        assert client.client.is_open

    run(test)


@on_a_server
async def test_a_sign_in_without_its_signature_is_refused(server: PusherServer) -> None:
    """P44: a subscription's signature is none."""
    client = connected(server)
    user_data = '{"id":"7"}'
    for text in (f"{client.socket_id}:user:{user_data}", f"1.1::user::{user_data}"):
        client.send("pusher:signin", {"user_data": user_data, "auth": auth_token(APP.key, APP.secret, text)})
        assert client.take()[0]["data"]["code"] == 4009
    assert not server.membership.is_online(APP.id, "7")


@on_a_server
async def test_a_connection_has_one_user(server: PusherServer) -> None:
    """P44: the same one may sign in again."""
    client = connected(server)
    client.sign_in(id="7")
    client.sign_in(id="7", watchlist=["8"])
    client.sign_in(id="8")
    assert client.events() == [
        "pusher:signin_success",
        "pusher:signin_success",
        "pusher_internal:watchlist_events",
        "pusher:error",
    ]
    client.client.leave()
    assert not server.membership.is_online(APP.id, "7")


@on_a_server
async def test_a_users_own_channel_is_that_users_alone(server: PusherServer) -> None:
    """P45, P46: it reaches all connections of the user, and counts as no channel."""
    ada, ada_too, bob = (connected(server) for _ in range(3))
    for client, user in ((ada, "ada"), (ada_too, "ada"), (bob, "bob")):
        client.subscribe("#server-to-user-ada", auth="")
        assert client.events() == ["pusher:subscription_error"]
        client.sign_in(id=user)
        client.take()
        client.subscribe("#server-to-user-ada", auth="")
    assert bob.events() == ["pusher:subscription_error"]
    assert ada.events() == ada_too.events() == ["pusher_internal:subscription_succeeded"]
    server.publish(APP, [api_event("#server-to-user-ada", data="hello")])
    assert ada.take() == ada_too.take() == [{"event": "happened", "channel": "#server-to-user-ada", "data": "hello"}]
    assert bob.take() == []
    assert server.membership.channels(APP.id) == []


@on_a_server
async def test_a_users_connections_can_be_terminated(server: PusherServer) -> None:
    """P47: the connections that are signed in; a member of a presence channel stays."""
    signed_in, member, other = (connected(server) for _ in range(3))
    signed_in.sign_in(id="7")
    member.join("presence-x", "7")
    other.sign_in(id="8")
    server.terminate_user(APP.id, "7")
    assert signed_in.outlet.code is TERMINATED
    assert 4000 <= TERMINATED.number < 4100
    assert member.client.is_open
    assert other.client.is_open


@on_a_server
async def test_a_watchlist_tells_who_is_online(server: PusherServer) -> None:
    """P49: at once, and when the first connection comes or the last one goes."""
    watcher, first, second = (connected(server) for _ in range(3))
    first.sign_in(id="ada")
    watcher.sign_in(id="eve", watchlist=["ada", "bob"])
    success, present = watcher.take()
    assert success["event"] == "pusher:signin_success"
    assert present == {
        "event": "pusher_internal:watchlist_events",
        "data": {"events": [{"name": "online", "user_ids": ["ada"]}, {"name": "offline", "user_ids": ["bob"]}]},
    }
    second.sign_in(id="ada")
    first.client.leave()
    assert watcher.take() == []
    second.client.leave()
    assert watcher.take()[0]["data"] == {"events": [{"name": "offline", "user_ids": ["ada"]}]}
    third = connected(server)
    third.sign_in(id="bob")
    assert watcher.take()[0]["data"] == {"events": [{"name": "online", "user_ids": ["bob"]}]}
    watcher.client.leave()
    third.client.leave()
    assert watcher.take() == []


@on_a_server
async def test_a_long_watchlist_is_cut(server: PusherServer) -> None:
    """P49."""
    watcher, watched, unwatched = (connected(server) for _ in range(3))
    watcher.sign_in(id="eve", watchlist=[str(k) for k in range(101)])
    _success, present, error = watcher.take()
    assert len(present["data"]["events"][0]["user_ids"]) == 100
    assert error["data"]["code"] == 4302
    unwatched.sign_in(id="100")
    watched.sign_in(id="99")
    assert watcher.take()[0]["data"] == {"events": [{"name": "online", "user_ids": ["99"]}]}


@on_a_server
async def test_watchlists_can_be_off(server: PusherServer) -> None:
    client = connected(server, replace(APP, has_watchlists=False))
    client.sign_in(id="eve", watchlist=[str(k) for k in range(101)])
    assert client.events() == ["pusher:signin_success"]


@on_a_server
async def test_nothing_is_kept_of_clients_that_have_gone(server: PusherServer) -> None:
    clients = [connected(server) for _ in range(3)]
    for k, client in enumerate(clients):
        client.sign_in(id=f"user-{k % 2}", watchlist=["user-0", "user-1", "user-2"])
        client.subscribe(f"#server-to-user-user-{k % 2}", auth="")
        client.join("presence-x", f"user-{k % 2}")
        subscribed(client, "news", "private-x")
    for client in clients:
        client.client.leave()
    assert server.connection_count == 0
    for user in ("user-0", "user-1", "user-2"):
        assert list(server.users.clients(APP.id, user)) == []
        assert server.users.watchers(APP.id, [user]) == {}
        assert not server.membership.is_online(APP.id, user)
    assert list(server.channels.names(APP.id)) == []
    assert server.membership.channels(APP.id) == []
