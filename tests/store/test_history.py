"""History: what reads and writes cost does not depend on how many tasks have ended, of a person or of all."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings

from telltale import store
from telltale.admin import durations as admin_durations
from telltale.admin import newest
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.models import PushSubscription, StoredNotice, TaskFollower, TaskState
from telltale.owners import Owner
from telltale.pages.accepted import _row_of
from telltale.pages.permissions import _own_topics
from telltale.store import durations, pruning
from tests.store.costs import Cost, analyse, cost_of
from tests.store.factories import claim, queue, report

pytestmark = [pytest.mark.service, pytest.mark.django_db]

DAY_S = 86_400.0
SEEDS = 1_000
COPIES = 199
USERS = 400
FOLLOWERS = 50
"""Of each task of the past."""
BROWSERS = 3_000
SLACK = 1.5
"""How much more a call may cost with 200 times as many rows: the depth of trees, and the bounds of loops, vary."""


class Site:
    """A site with open tasks, and tasks and notices of the past; a quarter of them belong to one person."""

    def __init__(self) -> None:
        now = self.now = store.now()
        self.ada = User.objects.create_superuser("ada")
        self.others = User.objects.bulk_create([User(username=f"user-{number}") for number in range(USERS)])
        self.others = list(User.objects.exclude(pk=self.ada.pk))
        self.topic, self.session = f"user:{self.ada.pk}", "5e55"
        self.past = TaskState.objects.bulk_create(self._past(number) for number in range(SEEDS))
        StoredNotice.objects.bulk_create(
            StoredNotice(
                topic=self.topic if number % 4 == 0 else f"user:{self.others[number % USERS].pk}",
                level="info",
                text="x",
                created_at=now - number,
                shown_at=None if number % 8 == 0 else now - 1,
            )
            for number in range(SEEDS)
        )
        TaskFollower.objects.bulk_create(
            [TaskFollower(task=task, topic=f"user:{n}") for task in self.past for n in range(FOLLOWERS)],
            batch_size=5_000,
        )
        PushSubscription.objects.bulk_create(
            PushSubscription(
                digest=f"{n:064}",
                endpoint="https://push.example.org/",
                topic=f"user:{n}",
                until=now + DAY_S * (200 + n),
                created_at=now,
                used_at=now,
            )
            for n in range(BROWSERS)
        )
        self.open = [queue(owner=self.owner, now=now - 100 + number) for number in range(6)]
        self.running = claim(self.open.pop())
        analyse(TaskState, StoredNotice, TaskFollower, PushSubscription)

    @property
    def owner(self) -> Owner:
        return Owner(user_id=self.ada.pk)

    def _past(self, number: int) -> TaskState:
        is_ours = number % 4 == 0
        is_of_session = number % 10 == 1
        days = (number % 200 / 200 if is_ours or is_of_session else 2) + number % 10
        columns: dict[str, Any] = {"session": self.session} if is_of_session else {}
        if not is_of_session:
            columns = {"owner_id": self.ada.pk if is_ours else self.others[number % USERS].pk}
        return TaskState(
            runner="test",
            runner_id=str(uuid4()),
            name="work",
            label="Work",
            state=State.FAILED if number % 3 == 0 else State.SUCCEEDED,
            created_at=self.now - DAY_S * days - 10,
            started_at=self.now - DAY_S * days - 5,
            ended_at=self.now - DAY_S * days,
            **columns,
        )

    def grow(self) -> None:
        """Copy the past, until there are 200,000 tasks and 50,000 notices."""
        past = [row.pk for row in self.past]
        for copy in range(COPIES):
            self._copy(TaskState, past, copy)
            if copy % 4 == 0:
                self._copy(StoredNotice, [], copy)
        analyse(TaskState, StoredNotice, TaskFollower, PushSubscription)

    def _copy(self, model: Any, ids: list[UUID], copy: int) -> None:
        new_id = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "gen_random_uuid()"}.get(
            connection.vendor, "uuid()" if connection.features.has_native_uuid_field else "replace(uuid(), '-', '')"
        )
        changed = {"id": new_id, "created_at": f"created_at - {copy}"}
        changed["runner_id"] = f"{new_id}::text" if connection.vendor == "postgresql" else new_id
        names = [field.column for field in model._meta.concrete_fields]
        columns = [connection.ops.quote_name(name) for name in names]
        values = [changed.get(name, column) for name, column in zip(names, columns, strict=True)]
        source = f"SELECT {', '.join(values)} FROM {model._meta.db_table}"
        if ids:
            prepared = [TaskState._meta.pk.get_db_prep_value(pk, connection) for pk in ids]
            source += f" WHERE id IN ({', '.join(['%s'] * len(prepared))})"
        else:
            source += (
                f" WHERE created_at > {self.now - SEEDS} AND task_id IS NULL ORDER BY created_at DESC LIMIT {SEEDS}"
            )
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) {source}", prepared if ids else None
            )


def _admin(site: Site, path: str = "") -> Any:
    client = Client()
    client.force_login(site.ada)
    response = client.get(f"/admin/telltale/taskstate/{path}")
    assert response.status_code == 200
    return response


def _end(site: Site) -> None:
    assert store.end(site.running.id, 1, State.SUCCEEDED) is not None


def _requeue(site: Site) -> None:
    assert store.requeue(site.past[0].pk) is not None


CALLS: Mapping[str, Callable[[Site], Any]] = {
    "a person's topic": lambda site: store.read_topics([site.topic]),
    "a session's topic": lambda site: store.read_topics([f"session:{site.session}"]),
    "topics of a person and tasks": lambda site: store.read_topics(
        [site.topic, *(f"task:{row.pk}" for row in site.past[:20])]
    ),
    "topics of 400 people": lambda site: store.read_topics([f"user:{user.pk}" for user in site.others]),
    "tasks by id": lambda site: store.read_tasks([row.pk for row in site.past[:20]]),
    "one task": lambda site: store.get_task(site.past[0].pk),
    "a person's list": lambda site: store.list_tasks(site.owner),
    "a person's list, from an open task on": lambda site: store.list_tasks(
        site.owner, after=store.TaskPlace.of(site.open[2])
    ),
    "a person's list, from an old task on": lambda site: store.list_tasks(
        site.owner, after=store.TaskPlace.of(site.past[100])
    ),
    "a session's list": lambda site: store.list_tasks(Owner(session=site.session)),
    "a session's list, from an old task on": lambda site: store.list_tasks(
        Owner(session=site.session), after=store.TaskPlace.of(site.past[101])
    ),
    "whether tasks are a person's": lambda site: _own_topics(
        site.owner, [task_topic(row.pk) for row in site.past[:20]]
    ),
    "a result's task": lambda site: _row_of(type("Result", (), {"id": site.past[0].runner_id})()),
    "a runner's task": lambda site: store.claim(runner="test", runner_id=site.past[1].runner_id, worker="w"),
    "a task's position": lambda site: store.count_before(site.open[-1]),
    "all expired": lambda site: store.expire(),
    "some expired": lambda site: store.expire([row.pk for row in site.open]),
    "all expired, later": lambda site: store.expire(now=site.now + 3_600),
    "queueing": lambda site: queue(owner=site.owner),
    "queueing with a key": lambda site: queue(owner=site.owner, key="k"),
    "queueing for a session": lambda site: queue(owner=Owner(session=site.session)),
    "a session that owns tasks": lambda site: store.owns_tasks([site.session]),
    "a sign-in that finds nothing": lambda site: store.hand_over(["0000"], site.ada.pk),
    "queueing again": _requeue,
    "a due time": lambda site: store.reschedule(site.open[0].pk, site.now + 60),
    "a queue's status": lambda site: store.set_queue_status(site.open[0].pk, ahead=1, is_listening=True),
    "more time to begin": lambda site: store.postpone_start_by([row.pk for row in site.open], site.now + 60),
    "a claim": lambda site: claim(site.open[0]),
    "a save": lambda site: store.save([report(site.running)]),
    "an end": _end,
    "a cancellation": lambda site: store.request_cancel(site.open[0].pk),
    "a notice": lambda site: store.add_notice(site.topic, "x"),
    "a person's messages": lambda site: store.list_messages(site.owner),
    "older messages of a person": lambda site: store.list_messages(
        site.owner, before=store.MessagePlace(created_at=site.now - SEEDS / 2, id=UUID(int=0))
    ),
    "messages of a session with three names": lambda site: store.list_messages(
        Owner(session=site.session, earlier_sessions=("aa", "bb"))
    ),
    "notices for a page without scripts": lambda site: store.take_waiting(store.read_waiting(site.owner)),
    "notices of a task": lambda site: store.take_notices(site.past[0].pk),
    "notices of a session": lambda site: store.take_notices(f"session:{site.session}"),
    "pruning nothing": lambda site: store.prune(),
    "pruning some tasks": lambda site: store.prune(now=site.now + 36 * DAY_S, most=50),
    "pruning some notices": lambda site: store.prune(now=site.now + 95 * DAY_S, most=50),
    "the admin's list": lambda site: _admin(site),
    "the admin's counts": lambda site: newest.counts(now=site.now),
    **{
        f"the admin's list, {query}": lambda site, query=query: _admin(site, f"?{query}")  # type: ignore[misc]
        for query in (
            "state=failed",
            "state=running",
            "health=stalled",
            "health=slow",
            "ended=week",
            "runner=test",
            "queue=reports",
            "label=Work",
            "name=work",
            "owner_id=1",
            "state=failed&ended=week",
        )
    },
    "the admin's search for an id": lambda site: _admin(site, f"?q={site.past[0].pk}"),
    "the admin's busy workers": lambda site: _admin(site, "workers/"),
    "the admin's durations": lambda site: _admin(site, "durations/"),
    "the admin's durations of a name in a week": lambda site: _admin(site, "durations/?name=work&ended=week"),
    "the admin's page of a task": lambda site: _admin(site, f"{site.past[0].pk}/change/"),
}


def _cost(call: Callable[[Site], Any], site: Site) -> Cost:
    durations._cached.clear()
    store.now()  # measures the clock, if it is time to, outside of the call
    return cost_of(lambda: call(site))


@pytest.fixture(scope="module")
def costs(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, tuple[Cost, Cost]]]:
    """The cost of each call, with a thousand rows and with two hundred thousand."""
    # On a busy machine this takes longer than a lease, and a read would end the running task.
    long_lease = override_settings(TELLTALE={**settings.TELLTALE, "LEASE_S": 3_000.0})
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as few, long_lease:
        try:
            site = Site()
            few.setattr(newest, "LISTED", SEEDS // 2)
            few.setattr(newest, "FILTERED", SEEDS // 2)
            few.setattr(newest, "COUNTED", 2)
            few.setattr(admin_durations, "READ", SEEDS // 2)
            # The time that a transaction takes would decide how many statements there are.
            few.setattr(pruning, "_next_size", lambda _size, _took_s: pruning.DELETED_TOGETHER)
            small = {name: _cost(call, site) for name, call in CALLS.items()}
            site.grow()
            yield {name: (small[name], _cost(call, site)) for name, call in CALLS.items()}
        finally:
            call_command("flush", interactive=False, verbosity=0)


@pytest.mark.parametrize("name", CALLS)
def test_no_read_or_write_scans_a_whole_table(costs: dict[str, tuple[Cost, Cost]], name: str) -> None:
    _small, large = costs[name]
    assert large.full_scans == []


@pytest.mark.parametrize("name", CALLS)
def test_what_a_read_or_write_costs_does_not_depend_on_history(costs: dict[str, tuple[Cost, Cost]], name: str) -> None:
    small, large = costs[name]
    assert len(large.statements) <= len(small.statements)
    assert large.examined <= SLACK * small.examined + 100, (small, large)
