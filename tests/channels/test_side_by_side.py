"""Everything in one project and one process: a project's own consumers, Telltale's live address, a consumer with
`FollowMixin` and a `TaskConsumer`, over one channel layer. The project is `examples/channels`, with its own servers.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.demo.site import Visitor
from tests.examples.example_site import ExampleSite

pytestmark = pytest.mark.service

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExampleSite]:
    with ExampleSite(tmp_path_factory.mktemp("side-by-side")) as site:
        yield site


@pytest.fixture
def ada(site: ExampleSite) -> Iterator[Visitor]:
    with Visitor(site.url) as visitor:
        yield visitor.sign_in("ada")


class Socket:
    """A socket of a signed-in visitor, and all messages that have come."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.messages: list[dict[str, Any]] = []

    def send(self, message: object) -> None:
        self.connection.send(json.dumps(message))

    def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Receive until a message meets the condition; return that message."""
        end = time.monotonic() + PATIENCE_S
        while not self.messages or not condition(self.messages[-1]):
            assert time.monotonic() < end, self.messages
            self.messages.append(json.loads(self.connection.recv(PATIENCE_S)))
        return self.messages[-1]


@pytest.fixture
def open_socket() -> Iterator[Callable[[Visitor, str], Socket]]:
    """Each call opens a socket, as a page of the site does; all are closed at the end."""
    with ExitStack() as stack:

        def opened(visitor: Visitor, path: str) -> Socket:
            url = str(visitor.http.base_url).rstrip("/")
            headers = {"Cookie": f"sessionid={visitor.http.cookies['sessionid']}"}
            address = url.replace("http", "ws", 1) + path
            connection = connect(address, origin=Origin(url), additional_headers=headers)
            return Socket(stack.enter_context(connection))

        yield opened


def start_with_telltale(visitor: Visitor) -> str:
    """Start a report with Telltale; return its UUID."""
    response = visitor.post("/with-telltale/")
    found = re.search(r"[0-9a-f-]{36}", response.headers["Location"])
    assert found
    return found[0]


def test_own_consumers_ours_a_follow_mixin_and_a_task_consumer_work_side_by_side(
    site: ExampleSite, ada: Visitor, open_socket: Callable[[Visitor, str], Socket]
) -> None:
    task = start_with_telltale(ada)
    own = open_socket(ada, f"/ws/by-hand/{uuid4()}/")
    own.send({"start": True})
    followed = open_socket(ada, f"/ws/with-telltale/{task}/")
    live = open_socket(ada, "/telltale/live/")
    live.send({"type": "hello", "v": 1, "ticket": ada.ticket(f"task:{task}")})

    own.until(lambda message: message["text"] == "Your report is ready.")
    followed.until(lambda message: message.get("share") == 1)
    live.until(lambda message: any(snapshot["state"] == "succeeded" for snapshot in message.get("tasks", [])))

    assert [message["share"] for message in own.messages] == [0, 0.25, 0.5, 0.75, 1, 1]
    shares = [message["share"] or 0 for message in followed.messages if "share" in message]
    assert shares == sorted(shares)
    assert {snapshot["id"] for message in live.messages for snapshot in message.get("tasks", [])} == {task}
    assert "Traceback" not in site.log.read_text()


def test_another_user_gets_neither_socket_nor_ticket_for_the_task(
    site: ExampleSite, ada: Visitor, open_socket: Callable[[Visitor, str], Socket]
) -> None:
    task = start_with_telltale(ada)
    with Visitor(site.url) as grace:
        grace.sign_in("grace")
        with pytest.raises(InvalidStatus) as refusal:
            open_socket(grace, f"/ws/with-telltale/{task}/")
        assert refusal.value.response.status_code == 403
        response = grace.post("/telltale/ticket/", json={"topics": [f"task:{task}"]})
        assert response.status_code == 404
