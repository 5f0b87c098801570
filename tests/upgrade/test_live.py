"""F38: this server answers the page of an earlier version, over each transport, and closes one of a newer protocol."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.factories import task_of
from tests.transports.sites import PATIENCE_S, ThreadSite, in_a_thread
from tests.upgrade import samples
from tests.upgrade.frozen import HELP, VERSIONS, differences, frozen

pytestmark = [pytest.mark.service, pytest.mark.django_db(transaction=True)]

every_version = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture
def site(transactional_db: None) -> Iterator[ThreadSite]:
    with in_a_thread("live") as site:
        yield site


@pytest.fixture
def task_id(site: ThreadSite) -> str:
    """A task that the recorded ticket covers."""
    return str(task_of(samples.OWNER).pk)


@every_version
def test_f38_the_socket_of_an_earlier_page_is_answered(version: str, site: ThreadSite, task_id: str) -> None:
    client, frames = frozen(version, "client"), frozen(version, "frames")
    with site.socket() as socket:
        socket.send(json.dumps(client["hello"]))
        hello, update = (json.loads(socket.recv(PATIENCE_S)) for _ in range(2))
        socket.send(json.dumps(client["ack"] | {"n": update["n"]}))
        socket.send(json.dumps(client["ticket"]))
    assert differences(frames[0], hello) == [], HELP
    assert [task["id"] for task in update["tasks"]] == [task_id]
    assert differences(frames[1] | {"tasks": []}, update) == [], HELP


@every_version
def test_f38_the_poll_and_the_stream_of_an_earlier_page_are_answered(
    version: str, site: ThreadSite, task_id: str
) -> None:
    client = frozen(version, "client")
    headers = {"Authorization": f"Bearer {client['hello']['ticket']}"}
    poll = httpx.post(
        site.live, json=client["poll"], headers=headers | {"Accept": "application/json"}, timeout=PATIENCE_S
    )
    assert [task["id"] for task in poll.json()["tasks"]] == [task_id]
    headers |= {"Accept": "text/event-stream"}
    with httpx.stream("POST", site.live, json=client["stream"], headers=headers, timeout=PATIENCE_S) as stream:
        messages = (json.loads(line[5:]) for line in stream.iter_lines() if line.startswith("data:"))
        kinds = [next(messages)["type"], next(messages)["type"]]
    assert kinds == ["hello", "update"]


def test_f38_a_page_of_another_protocol_is_closed_with_the_reason_and_does_not_return(site: ThreadSite) -> None:
    hello: dict[str, Any] = frozen(VERSIONS[-1], "client")["hello"]
    with site.socket() as socket:
        socket.send(json.dumps(hello | {"v": 99}))
        bye = json.loads(socket.recv(PATIENCE_S))
    assert (bye["type"], bye["code"], bye["again"]) == ("bye", 4409, "never")


def test_f38_unknown_fields_of_a_newer_page_are_ignored(site: ThreadSite, task_id: str) -> None:
    hello: dict[str, Any] = frozen(VERSIONS[-1], "client")["hello"]
    with site.socket() as socket:
        socket.send(json.dumps(hello | {"colour": "green"}))
        assert json.loads(socket.recv(PATIENCE_S))["type"] == "hello"
