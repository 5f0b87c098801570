"""An import as a client sees it: real processes, a real file, only HTTP and sockets."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.demo.site import SupervisedSite, Visitor, ended, stream_events, topic_of

pytestmark = pytest.mark.service


class Follower(threading.Thread):
    """Follows one task in its own thread until it has ended, and records when each update arrived."""

    def __init__(self, listen: Callable[["Follower"], None]) -> None:
        super().__init__(daemon=True)
        self.listen = listen
        self.received_at: list[float] = []
        self.fractions: list[float] = []
        self.states: list[str] = []
        self.start()

    def run(self) -> None:
        self.listen(self)

    def receive(self, message: dict[str, Any]) -> bool:
        """Record an update; return whether the task has ended."""
        for task in message.get("tasks", []):
            self.received_at.append(time.monotonic())
            self.states.append(task["state"])
            if task["progress"]["fraction"] is not None:
                self.fractions.append(task["progress"]["fraction"])
        return bool(message.get("tasks")) and message["tasks"][-1]["ended"]


def by_websocket(url: str, ticket: str) -> Follower:
    def listen(follower: Follower) -> None:
        with connect(url.replace("http", "ws") + "/telltale/live/", origin=url) as socket:  # type: ignore[arg-type]
            socket.send(json.dumps({"type": "hello", "v": 1, "ticket": ticket}))
            for text in socket:
                message = json.loads(text)
                socket.send(json.dumps({"type": "ack", "n": message["n"]}))
                if follower.receive(message):
                    return

    return Follower(listen)


def by_event_stream(url: str, ticket: str) -> Follower:
    def listen(follower: Follower) -> None:
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {ticket}"}
        with httpx.stream("GET", f"{url}/telltale/live/", headers=headers, timeout=60) as response:
            for message in stream_events(response.iter_lines()):
                if follower.receive(message):
                    return

    return Follower(listen)


def test_a_client_follows_an_import_to_its_end_over_http_alone(
    site: SupervisedSite, visitor: Visitor, airports: str
) -> None:
    count_writes(site)
    began = time.monotonic()
    response = visitor.upload(airports)
    assert response.status_code == 202
    assert int(response.headers["Retry-After"]) >= 1
    location = response.headers["Location"]
    assert not visitor.get_task(location)["ended"], "the response does not wait for the import"
    ticket = visitor.ticket(topic_of(location))
    followers = [by_websocket(site.url, ticket), by_event_stream(site.url, ticket)]

    seen = visitor.poll(location, until=ended)

    took_s = time.monotonic() - began
    fractions = [task["progress"]["fraction"] for task in seen if task["progress"]["fraction"] is not None]
    assert seen[-1]["state"] == "succeeded", seen[-1]
    assert len(fractions) > 10
    assert fractions == sorted(fractions)
    assert {"id", "label", "state", "health", "attempt", "progress", "error", "result"} <= seen[-1].keys()
    assert imported(site, visitor, seen[-1]) == airports.count("\n") - 1
    for follower in followers:
        follower.join(40)
        assert follower.states[-1] == "succeeded"
        assert follower.fractions == sorted(follower.fractions)
        assert len(set(follower.fractions)) > 20
    assert writes(site, seen[-1]["id"]) <= 3 + 0.5 * took_s


def test_every_airport_has_five_neighbours_nearest_first(
    site: SupervisedSite, visitor: Visitor, few_airports: str
) -> None:
    task = visitor.poll(visitor.upload(few_airports).headers["Location"], until=ended)[-1]
    upload = task["result"].split("/")[2].replace("-", "")
    found = site.rows(
        "SELECT airport_id, group_concat(rank, ''), min(distance_km) FROM (SELECT n.* FROM airports_neighbour n "
        "JOIN airports_airport a ON a.id = n.airport_id WHERE a.upload_id = ? ORDER BY n.distance_km, n.rank) "
        "GROUP BY airport_id",
        upload,
    )
    assert len(found) == 3_000
    assert {ranks for _, ranks, _ in found} == {"12345"}


def test_a_browser_is_redirected_to_the_tasks_page(visitor: Visitor, few_airports: str) -> None:
    response = visitor.http.post(
        "/imports/",
        headers={"Accept": "text/html", "X-CSRFToken": visitor.http.cookies["csrftoken"]},
        files={"file": ("airports.csv", few_airports)},
    )
    assert response.status_code == 303
    page = visitor.http.get(response.headers["Location"], headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "Import airports.csv" in page.text


def test_a_client_without_a_valid_ticket_gets_nothing(site: SupervisedSite, new_visitor: Callable[[], Visitor]) -> None:
    ada = new_visitor().sign_in("ada")
    location = ada.post("/run/hop/").headers["Location"]
    forged = new_visitor().sign_in("grace").ticket() + "x"
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Bearer {forged}"}):
        response = httpx.get(
            f"{site.url}/telltale/live/", headers={"Accept": "text/event-stream"} | headers, timeout=40
        )
        assert response.status_code in {401, 403}
        assert response.json()["type"] == "bye"
        assert "task" not in response.json()
    with connect(site.url.replace("http", "ws") + "/telltale/live/") as socket:
        socket.send(json.dumps({"type": "hello", "v": 1, "ticket": "nonsense"}))
        assert json.loads(socket.recv(40))["type"] == "bye"
        with pytest.raises(ConnectionClosed):
            socket.recv(40)
    ada.post(f"{location}cancel/")
    assert ada.poll(location, until=ended)[-1]["state"] == "cancelled"


def test_another_owners_task_and_an_unknown_task_get_the_same_response(new_visitor: Callable[[], Visitor]) -> None:
    ada, grace = new_visitor().sign_in("ada"), new_visitor().sign_in("grace")
    location = ada.post("/run/bad-row/").headers["Location"]
    other_owners = grace.http.get(location)
    unknown = grace.http.get("/telltale/tasks/00000000-0000-4000-8000-000000000000/")
    assert other_owners.status_code == unknown.status_code == 404
    assert other_owners.text == unknown.text
    assert ada.get_task(location)["label"] == "Import bad.csv"


def test_a_bad_row_fails_with_a_message_for_people(visitor: Visitor) -> None:
    task = visitor.poll(visitor.post("/run/bad-row/").headers["Location"], until=ended)[-1]
    assert task["state"] == "failed"
    assert task["error"] == "Row 1,204: latitude 123.4 is not between −90 and 90."
    assert task["can_retry"] is True


def imported(site: SupervisedSite, visitor: Visitor, task: dict[str, Any]) -> int:
    """Return the number of imported airports, which the import's page and the database agree on."""
    page = visitor.http.get(task["result"], headers={"Accept": "text/html"}).text
    upload = task["result"].split("/")[2].replace("-", "")
    [(count,)] = site.rows("SELECT count(*) FROM airports_airport WHERE upload_id = ?", upload)
    assert f'value="{count}"' in page
    return int(count)


def count_writes(site: SupervisedSite) -> None:
    """Make the database count the writes to the table of tasks."""
    site.rows("CREATE TABLE IF NOT EXISTS test_writes (id TEXT)")
    action = "ON telltale_taskstate BEGIN INSERT INTO test_writes VALUES (NEW.id); END"
    site.rows("CREATE TRIGGER IF NOT EXISTS test_insert AFTER INSERT " + action)
    site.rows("CREATE TRIGGER IF NOT EXISTS test_update AFTER UPDATE " + action)


def writes(site: SupervisedSite, task_id: str) -> int:
    [(count,)] = site.rows("SELECT count(*) FROM test_writes WHERE id = ?", task_id.replace("-", ""))
    return int(count)
