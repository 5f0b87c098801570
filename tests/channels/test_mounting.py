"""The live address around and inside a project's Channels routing, on the servers that such projects use."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from django.conf import settings as django_settings
from django.test import Client as Browser
from websockets.exceptions import ConnectionClosed, InvalidStatus

import telltale
from telltale.core.topics import task_topic
from telltale.live import tickets
from tests.channels.site_servers import COMMANDS, ChannelsSite, Serve, serving
from tests.factories import moved, person, started, task_of
from tests.transports.conftest import CLIENTS, Client, publishing_to_processes
from tests.transports.sites import PATIENCE_S, wait_until

pytestmark = [pytest.mark.service, pytest.mark.django_db(transaction=True)]

EXITS_WITHIN_S = 40.0
MOUNTINGS = ["around", "inside"]

ALL = pytest.mark.parametrize("transport", sorted(CLIENTS))
STREAMS = pytest.mark.parametrize("transport", ["websocket", "sse"])


@pytest.fixture(scope="module")
def served(django_db_setup: None) -> Iterator[Serve]:
    yield from serving()


@pytest.fixture(params=[(server, mounting) for server in COMMANDS for mounting in MOUNTINGS], ids=" ".join)
def site(request: pytest.FixtureRequest, served: Serve, transactional_db: None) -> Iterator[ChannelsSite]:
    with publishing_to_processes():
        yield served(*request.param)


@pytest.fixture
def connect_by(site: ChannelsSite) -> Iterator[Callable[..., Client]]:
    with ExitStack() as stack:

        def connect_by(transport: str, ticket: str) -> Client:
            client = CLIENTS[transport](site, ticket)
            stack.callback(client.close)
            return client

        yield connect_by


@ALL
def test_every_transport_brings_the_stored_snapshot_and_newer_ones(connect_by: Any, transport: str) -> None:
    task = task_of()
    client = connect_by(transport, tickets.issue([task_topic(task.pk)]))
    assert client.snapshot(task.pk)["state"] == "queued"
    moved(started(task), 0.25, seq=2)
    assert client.snapshot(task.pk, lambda s: s["seq"] == 2)["progress"]["fraction"] == 0.25


@ALL
def test_a_wrong_ticket_is_refused_with_its_reason(connect_by: Any, transport: str) -> None:
    assert connect_by(transport, "nonsense").message("bye")["code"] == 4401


def test_the_page_of_another_site_is_refused(site: ChannelsSite) -> None:
    with pytest.raises(InvalidStatus, match="403"), site.socket(origin="http://evil.example"):
        pass


def test_the_projects_own_consumers_know_their_user_beside_it(site: ChannelsSite) -> None:
    ada = person()
    cookie = cookie_of(ada)
    with site.socket(f"/async/user:{ada.pk}/", additional_headers=cookie) as socket:
        socket.send('{"hello": 1}')
        assert "hello" in str(socket.recv(20))
    with pytest.raises(InvalidStatus, match="403"), site.socket(f"/async/user:{ada.pk}/"):
        pass
    assert httpx.get(f"{site.url}/admin/login/", timeout=20).status_code == 200


@STREAMS
def test_a_client_that_disconnects_is_forgotten(connect_by: Any, transport: str, site: ChannelsSite) -> None:
    wait_until(lambda: site.connection_count() == 0, "all earlier clients have left")
    client = connect_by(transport, tickets.issue(["project:7"]))
    client.message("hello")
    assert site.connection_count() == 1
    client.close()
    wait_until(lambda: site.connection_count() == 0, "the server has forgotten the client")


def test_a_server_that_stops_tells_all_clients_and_exits(connect_by: Any, site: ChannelsSite) -> None:
    clients = [connect_by(transport, tickets.issue(["project:7"])) for transport in ("websocket", "sse")]
    for client in clients:
        client.message("hello")
    site.begin_shutdown()
    for client in clients:
        bye = client.message("bye")
        assert (bye["code"], bye["again"]) == (4000, "later")
    site.wait_for_exit(EXITS_WITHIN_S)
    assert "src/telltale/" not in site.output(), site.output()


def test_a_wrong_path_in_the_routing_is_refused_and_the_log_names_the_right_one(
    served: Serve, transactional_db: None
) -> None:
    site = served("daphne", "misplaced")
    response = httpx.post(f"{site.url}/live/", timeout=20)
    assert (response.status_code, "log has the fix" in response.text) == (404, True)
    with pytest.raises((InvalidStatus, ConnectionClosed)), site.socket("/live/"):
        pass
    wait_until(lambda: site.output().count("write path('telltale/live/', live_application())") == 2, "the log says it")


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_a_consumer_that_follows_works_on_a_real_server_until_its_user_logs_out(
    served: Serve, transactional_db: None, kind: str
) -> None:
    ada = person()
    task = task_of(ada)
    site = served("daphne", "around")
    browser = Browser()
    browser.force_login(ada)
    key = browser.cookies[django_settings.SESSION_COOKIE_NAME].value
    cookie = {"Cookie": f"{django_settings.SESSION_COOKIE_NAME}={key}"}
    with publishing_to_processes(), site.socket(f"/{kind}/user:{ada.pk}/", additional_headers=cookie) as socket:

        def received(matches: Callable[[Any], object]) -> Any:
            give_up_at = time.monotonic() + PATIENCE_S
            while not matches(message := json.loads(socket.recv(give_up_at - time.monotonic()))):
                pass
            return message

        assert received(lambda m: "task" in m)["task"]["state"] == "queued"
        moved(started(task), 0.5, seq=2)
        received(lambda m: m.get("task", {}).get("seq") == 2)
        telltale.notify(ada, "Ready")
        assert received(lambda m: "notice" in m)["notice"]["text"] == "Ready"
        browser.logout()
        assert received(lambda m: "unfollowed" in m)["reason"] == "forbidden"
        assert site.connection_count() == 0


def cookie_of(user: Any) -> dict[str, str]:
    """The headers of a browser in which the user is signed in."""
    browser = Browser()
    browser.force_login(user)
    key = browser.cookies[django_settings.SESSION_COOKIE_NAME].value
    return {"Cookie": f"{django_settings.SESSION_COOKIE_NAME}={key}"}
