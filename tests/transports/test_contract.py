"""What every transport promises, held by each in turn over a real server: the same messages, the same order."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import telltale
from telltale import store
from telltale.core.states import State
from telltale.core.topics import task_topic, user_topic
from telltale.live import tickets
from tests.factories import ended, moved, person, started, task_of

pytestmark = pytest.mark.service


def test_what_the_store_knows_comes_first_and_then_every_newer_state(hears: Any) -> None:
    ada = person()
    task = task_of(ada)
    heard = hears(tickets.issue([user_topic(ada.pk)]))
    assert heard.task(task.pk)["state"] == "queued"
    claim = started(task)
    moved(claim, 0.25, seq=2)
    assert heard.task(task.pk, lambda s: s["progress"]["fraction"] == 0.25)["state"] == "running"
    ended(claim, result="/there/")
    assert heard.task(task.pk, lambda s: s["ended"])["result"] == "/there/"


def test_news_takes_no_longer_than_a_blink(hears: Any) -> None:
    task = task_of()
    heard = hears(tickets.issue([task_topic(task.pk)]))
    heard.task(task.pk)
    claim = started(task)
    moved(claim, 0.1, seq=2)
    heard.task(task.pk, lambda s: s["seq"] == 2)
    time.sleep(0.2)
    before = time.monotonic()
    moved(claim, 0.5, seq=3)
    heard.task(task.pk, lambda s: s["seq"] == 3)
    assert time.monotonic() - before < 1


def test_who_has_it_already_is_not_told_again(hears: Any) -> None:
    task = task_of()
    claim = started(task)
    snapshot = moved(claim, 0.5, seq=5)
    heard = hears(tickets.issue([task_topic(task.pk)]), {str(task.pk): [1, False, snapshot.seq]})
    moved(claim, 0.75, seq=6)
    assert heard.task(task.pk)["seq"] == 6


def test_nobody_hears_what_the_ticket_does_not_cover(hears: Any) -> None:
    ada, grace = person("ada"), person("grace")
    mine, theirs = task_of(ada), task_of(grace)
    heard = hears(tickets.issue([user_topic(ada.pk)]))
    heard.task(mine.pk)
    ended(started(theirs))
    telltale.notify(grace, "A secret")
    telltale.publish("project:7", "secret")
    ended(started(mine))
    heard.task(mine.pk, lambda s: s["ended"])
    assert str(theirs.pk) not in str(heard.messages)
    assert "ecret" not in str(heard.messages)


@pytest.mark.parametrize("kind", ["none", "malformed", "another's", "expired"])
def test_without_a_good_ticket_nothing_is_heard_but_why(hears: Any, kind: str, settings: Any) -> None:
    task = task_of()
    ticket = {
        "none": "",
        "malformed": "nonsense",
        "another's": tickets.issue([task_topic(task.pk)])[:-3] + "abc",
        "expired": tickets.issue([task_topic(task.pk)], ttl_s=-1),
    }[kind]
    heard = hears(ticket)
    bye = heard.type("bye")
    assert bye["code"] == (4402 if kind == "expired" else 4401)
    assert bye["again"] == ("at once" if kind == "expired" else "never")
    assert heard.messages == [bye]


@contextmanager
def repeating(act: Callable[[], None]) -> Iterator[None]:
    """Between two polls an event may be missed, for it is fire and forget: so it is fired again and again."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(0.05):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_notices_and_events_are_heard(hears: Any) -> None:
    ada = person()
    heard = hears(tickets.issue([user_topic(ada.pk), "project:7"]))
    waiting = telltale.notify(ada, "Hello", level="success", url="/there/")
    assert heard.until(lambda m: m.get("notices"))["notices"][0] == waiting.to_json()
    with repeating(lambda: telltale.publish("project:7", "build.finished", {"ok": True})):
        event = heard.until(lambda m: m.get("events"))["events"][0]
    assert event == {"topic": "project:7", "name": "build.finished", "data": {"ok": True}}


def test_the_thresholds_and_the_servers_clock_are_told(hears: Any) -> None:
    heard = hears(tickets.issue(["project:7"], ttl_s=120))
    first = heard.until(lambda m: m["type"] in {"hello", "poll"})
    assert set(first["limits"]) == {"quiet_s", "stalled_s", "lease_s"}
    assert abs(first["now"] - time.time()) < 5
    assert 100 < first["expires_at"] - first["now"] <= 120


def test_a_reader_is_told_of_a_lapsed_lease_with_no_scheduler_about(hears: Any, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"BEAT_S": 0.1, "STALLED_S": 0.3, "LEASE_S": 0.8, "RECHECK_S": 0.3}
    task = task_of()
    started(task)
    heard = hears(tickets.issue([task_topic(task.pk)]))
    assert heard.task(task.pk)["state"] == "running"
    assert heard.task(task.pk, lambda s: s["ended"])["state"] == "lost"


def test_without_a_broker_everything_is_heard_at_the_stores_pace(hears: Any, settings: Any) -> None:
    settings.TELLTALE = settings.TELLTALE | {"BROKER": "none://", "RECHECK_S": 0.5}
    ada = person()
    task = task_of(ada)
    heard = hears(tickets.issue([user_topic(ada.pk)]))
    heard.task(task.pk)
    ended(started(task), State.FAILED, error="Row 7 is bad.")
    assert heard.task(task.pk, lambda s: s["ended"])["error"] == "Row 7 is bad."
    assert heard.until(lambda m: m.get("notices"))["notices"][0]["level"] == "error"
    assert store.get_task(task.pk) is not None
