"""`manage.py telltale traffic`: what progress would cost at a service that bills messages and connections."""

import io
import time
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

import telltale
from telltale import store
from telltale.core.snapshot import Progress
from telltale.core.states import State
from telltale.pusher.traffic import DAY_S, measure
from telltale.worker.run import run_attempt
from tests.factories import person, task_of

pytestmark = pytest.mark.django_db

NOW = 1_790_000_000.0


def ended_task(
    owner: object = None, *, at: float = NOW, seconds: float = 10.0, updates: int = 5, count: float = 0, **more: object
) -> UUID:
    """The id of a task that ran for so long until `at`, published so many updates and counted so far."""
    task = task_of(owner, now=at - seconds, **more)
    claimed = store.claim(task_id=task.pk, worker="w", now=at - seconds)
    assert isinstance(claimed, store.Claim)
    progress = Progress(current=count)
    assert store.end(claimed.id, claimed.attempt, State.SUCCEEDED, seq=updates, progress=progress, now=at)
    return task.pk


def report_of(*arguments: str) -> str:
    out = io.StringIO()
    call_command("telltale", "traffic", *arguments, stdout=out)
    return out.getvalue()


def test_updates_are_counted_as_set_as_published_and_as_sent_to_the_service(settings) -> None:
    settings.TELLTALE = {"PUSHER_EVENTS_PER_S": 0.5}
    ended_task(seconds=10.0, updates=80, count=28_298)
    traffic = measure(1.0, now=NOW + 1)
    assert (traffic.total.tasks, traffic.total.set_by_code) == (1, 28_298)
    assert (traffic.total.published, traffic.total.sent_to_service) == (80, 2 + 10 * 0.5)


def test_a_message_is_billed_for_publishing_and_for_each_page_a_day() -> None:
    ended_task(updates=30)
    traffic = measure(2.0, now=NOW + 1)
    assert traffic.messages_a_day(traffic.total.published, pages=1) == 30
    assert traffic.messages_a_day(traffic.total.published, pages=3) == 60


def test_only_tasks_that_ended_in_the_period_count_and_no_members_of_groups() -> None:
    ended_task(at=NOW)
    ended_task(at=NOW - 3 * DAY_S)
    members = [ended_task(at=NOW) for _ in range(3)]
    store.task_rows().filter(pk__in=members).update(group_id=uuid4(), step=0)
    assert measure(1.0, now=NOW + 1).total.tasks == 1
    assert measure(7.0, now=NOW + 1).total.tasks == 2


def test_people_who_wait_at_the_same_time_are_counted_once_each() -> None:
    ada, ben, cid = person("ada"), person("ben"), person("cid")
    for owner in (ada, ada, ben):
        ended_task(owner, at=NOW, seconds=50)
    ended_task(cid, at=NOW + 1_000, seconds=50)
    ended_task(None, at=NOW, seconds=50)
    assert measure(1.0, now=NOW + 2_000).most_waiting == 2


def test_a_real_task_counts_what_it_set_and_fewer_updates(transactional_db) -> None:
    task = task_of(person())
    with run_attempt(task_id=task.pk):
        for _ in telltale.progress(range(20_000)):
            pass
        time.sleep(0.5)
    total = measure(1.0).total
    assert total.set_by_code == 20_000
    assert 1 <= total.published < 200


def test_the_report_shows_the_share_of_a_plan_and_the_largest_kinds_of_tasks() -> None:
    ended_task(person(), updates=500, count=10_000, label="Import contacts", at=store.now())
    ended_task(updates=10, label="Send newsletter", at=store.now())
    text = report_of("--days", "1", "--messages-a-day", "10000", "--connections", "10", "--pages", "2")
    lines = [line.split() for line in text.splitlines()]
    assert "2 tasks ended in the last 1 days." in text
    assert ["at", "least", "10,010", "30,030", "300.3%"] in [line[-5:] for line in lines]
    assert ["them", "510", "1,530", "15.3%"] in [line[-4:] for line in lines]
    assert "at most 1 people waited at the same time, 10.0% of the plan's 10" in text
    assert text.index("Import contacts") < text.index("Send newsletter")


def test_a_site_without_tasks_is_told_what_to_do() -> None:
    assert "choose more --days" in report_of()


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "week"])
def test_a_wrong_number_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(CommandError, match="not a number greater than 0"):
        report_of(f"--days={wrong}")


def test_the_tasks_are_read_in_one_query_however_many_there_are() -> None:
    for _ in range(5):
        ended_task()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        measure(1.0, now=NOW + 1)
    assert len(queries) == 1
