"""Subscriptions that wait until the channel's events of other processes are received, and end meanwhile."""

from collections.abc import Callable
from dataclasses import replace

from telltale.pusher.protocol.close_codes import RECONNECT
from telltale.pusher.pusher_apps import AppLimits
from telltale.pusher.server.link.links import NoLink
from telltale.pusher.server.server import PusherServer
from tests.pusher.server.local_clients import APP, LocalClient, api_event, connected, on_a_server

SUCCEEDED = "pusher_internal:subscription_succeeded"


class HeldLink(NoLink):
    """A link to a broker that answers when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.followed = 0
        """Calls of `follow` without one of `unfollow`."""

    def follow(self, _app_id: str, _channel: str, then: Callable[[], None]) -> None:
        self.followed += 1
        self.waiting.append(then)

    def unfollow(self, _app_id: str, _channel: str) -> None:
        self.followed -= 1

    def answer(self) -> None:
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()


def hold(server: PusherServer) -> HeldLink:
    server.link = link = HeldLink()
    return link


def unsubscribe(client: LocalClient, channel: str) -> None:
    client.send("pusher:unsubscribe", {"channel": channel})


@on_a_server
async def test_success_is_told_once_other_processes_are_heard(server: PusherServer) -> None:
    link, client = hold(server), connected(server)
    client.subscribe("news")
    server.publish(APP, [api_event("news")])
    assert client.take() == []
    assert not server.membership.is_occupied(APP.id, "news")
    link.answer()
    assert client.events() == [SUCCEEDED]
    server.publish(APP, [api_event("news")])
    assert client.events() == ["happened"]


@on_a_server
async def test_a_second_subscription_meanwhile_is_an_error(server: PusherServer) -> None:
    """P18."""
    link, client = hold(server), connected(server)
    client.subscribe("news")
    client.subscribe("news")
    link.answer()
    assert client.events() == ["pusher:error", SUCCEEDED]
    assert link.followed == 1


@on_a_server
async def test_a_subscription_that_ended_meanwhile_never_begins(server: PusherServer) -> None:
    """P19."""
    link, client, leaving, closed = hold(server), connected(server), connected(server), connected(server)
    for subscriber in (client, leaving, closed):
        subscriber.join("presence-x", subscriber.socket_id)
    unsubscribe(client, "presence-x")
    leaving.client.leave()
    closed.client.close(RECONNECT)
    link.answer()
    assert client.take() == leaving.take() == closed.take() == []
    assert not server.membership.is_occupied(APP.id, "presence-x")
    assert link.followed == 0


@on_a_server
async def test_of_several_attempts_only_the_last_begins(server: PusherServer) -> None:
    link, client = hold(server), connected(server)
    client.join("presence-x", "ada")
    unsubscribe(client, "presence-x")
    client.join("presence-x", "bob")
    last = link.waiting.pop()
    link.answer()
    assert client.take() == []
    last()
    [message] = client.take()
    assert message["data"]["presence"]["ids"] == ["bob"]
    assert link.followed == 1
    client.client.leave()
    assert link.followed == 0


@on_a_server
async def test_the_limit_of_members_holds_for_clients_that_waited_together(server: PusherServer) -> None:
    """P29."""
    app = replace(APP, limits=AppLimits(presence_members=2))
    link, clients = hold(server), [connected(server, app) for _ in range(3)]
    for k, client in enumerate(clients):
        client.join("presence-x", k)
    link.answer()
    assert [client.events()[0] for client in clients] == [SUCCEEDED, SUCCEEDED, "pusher:subscription_error"]
    assert link.followed == 2
    clients[0].client.leave()
    clients[2].join("presence-x", 2)
    link.answer()
    assert clients[2].events() == [SUCCEEDED]
