"""The state machine: Hypothesis calls the store in any order, and the model says what each call must answer.

After each call all rows and notices are compared with the model, and these hold: what was published is committed (I1);
an attempt ends once (I2); a worker of an older attempt writes nothing (I3); a row never goes back (I4); a reader sees
all that is its own and nothing else (I7, P); no running task is without a lease (I8); a cancelled task does not begin
(I9); a notice is granted to one page at a time (N).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from telltale import store
from telltale.core.snapshot import Order, Progress
from telltale.core.states import State
from telltale.core.topics import user_topic
from telltale.models import StoredNotice, TaskFollower, TaskState
from telltale.owners import Owner
from telltale.store.values import Changed
from tests.store.machine.model import LEASE_S, Model, Task

T = TypeVar("T")

BEGIN: Final = 1_790_000_000.0
ADA, BOB = Owner(session="ada"), Owner(session="bob")
NOBODY: Final = user_topic(7)
PAGES: Final = ("one", "two", "three")
WORKER_ENDS: Final = (State.SUCCEEDED, State.FAILED, State.CANCELLED)

MAX_TASKS: Final = 5
"""Few, so that the calls meet in the same rows."""

NUMBERS = st.integers(0, MAX_TASKS)
"""Which of the present tasks, runs or notices: modulo how many there are."""

OWNERS = st.sampled_from([ADA, BOB])
JUMPS = st.sampled_from([5.0, 11.0, 60.0, 106.0, 106.0, 4_000.0, -90.0])
"""Seconds: within a hold, after one, within a lease, after one, much later, and a clock that is put back."""

DAYS = st.sampled_from([1.0, 8.0, 31.0, 100.0])


@dataclass(eq=False)
class Run:
    """One attempt in a worker, which may be outdated without knowing."""

    claim: store.Claim
    seq: int = 0

    @property
    def id(self) -> UUID:
        return self.claim.id

    @property
    def attempt(self) -> int:
        return self.claim.attempt


def pick(items: Sequence[T], number: int) -> T:
    return items[number % len(items)]


has_room = precondition(lambda self: len(self.model.tasks) < MAX_TASKS)
has_tasks = precondition(lambda self: self.model.tasks)
has_runs = precondition(lambda self: self.runs)
has_messages = precondition(lambda self: self.model.messages)


class StoreMachine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.model = Model()
        self.runs: list[Run] = []
        self.newest: dict[UUID, Order] = {}
        """The largest order that was published or committed, of each task."""

    @initialize()
    def empty_the_tables(self) -> None:
        for table in (TaskFollower, StoredNotice, TaskState):
            table.objects.all().delete()

    # By people -----------------------------------------------------------------------------------

    @has_room
    @rule(owner=OWNERS, key=st.sampled_from([None, None, "report"]), is_shared=st.booleans(), is_urgent=st.booleans())
    def enqueue(self, owner: Owner, key: str | None, is_shared: bool, is_urgent: bool) -> None:
        scoped = None if key is None else (key, "everyone" if is_shared else str(owner.topic))
        expected = self.model.joinable(scoped, self.now)
        start_by = self.now + 30.0 if is_urgent else None
        queued = store.queue(
            runner="test", name="work", owner=owner, key=key, is_shared=is_shared, start_by=start_by, now=self.now
        )
        assert queued.joined == (expected is not None)
        if expected is not None:
            assert queued.task.pk == expected.id
            return
        task = Task(id=queued.task.pk, topic=owner.topic, created_at=self.now, key=scoped, lease_until=start_by)
        task.has_key = key is not None
        self.model.tasks[task.id] = task

    @precondition(lambda self: not self.model.groups)
    @rule(owner=OWNERS, sizes=st.lists(st.integers(1, 2), min_size=1, max_size=2))
    def enqueue_group(self, owner: Owner, sizes: list[int]) -> None:
        steps = [[member() for _ in range(size)] for size in sizes]
        group = store.queue_group(
            steps, group_id=uuid4(), runner="test", name="all", label="All", owner=owner, now=self.now
        )
        ids = iter(store.member_ids(group))
        self.model.tasks[group.pk] = Task(id=group.pk, topic=owner.topic, created_at=self.now)
        self.model.groups[group.pk] = [[next(ids) for _ in step] for step in steps]
        for number, step in enumerate(self.model.groups[group.pk]):
            for id in step:
                self.model.tasks[id] = Task(id=id, topic=None, created_at=self.now, group=group.pk, step=number)

    @has_tasks
    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        task = pick(list(self.model.tasks.values()), number)
        expected = self.model.request_cancel(task, self.now)
        self._published(store.request_cancel(task.id, now=self.now), expected)

    @precondition(lambda self: any(task.ended_at and not task.group for task in self._delivered))
    @rule(number=NUMBERS)
    def retry(self, number: int) -> None:
        task = pick([task for task in self._delivered if task.ended_at and not task.group], number)
        expected = self.model.requeue(task, self.now)
        self._published(store.requeue(task.id, now=self.now), expected)

    # By workers ----------------------------------------------------------------------------------

    @has_tasks
    @rule(number=NUMBERS)
    def deliver(self, number: int) -> None:
        """The runner delivers a task: for the first time, again, or although it has ended."""
        task = pick(self._delivered, number)
        expected = self.model.claim(task, self.now)
        answer = store.claim(task_id=task.id, worker="w", now=self.now)
        assert isinstance(answer, store.Claim) == expected
        if isinstance(answer, store.Claim):
            self.runs.append(Run(answer, answer.seq))

    @has_runs
    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=3), is_beat=st.booleans())
    def save(self, numbers: list[int], is_beat: bool) -> None:
        # One run of a task at a time, as in a process.
        picked = [pick(self.runs, number) for number in numbers]
        runs = list({run.id: run for run in picked}.values())
        reports = []
        for run in runs:
            run.seq += 1 if is_beat else 3
            progress = Progress(fraction=0.5)
            reports.append(
                store.Report(id=run.id, attempt=run.attempt, seq=run.seq, progress=progress, is_beat=is_beat)
            )
        expected = [self.model.save(self.model.tasks.get(run.id), run.attempt, self.now) for run in runs]
        saved = store.save(reports, now=self.now)
        assert [verdict_of(it) for it in saved] == expected
        for run, it in zip(runs, saved, strict=True):
            run.seq = max(run.seq, it.seq)

    @has_runs
    @rule(number=NUMBERS, state=st.sampled_from(WORKER_ENDS))
    def end(self, number: int, state: State) -> None:
        run = pick(self.runs, number)
        expected = self.model.end(self.model.tasks.get(run.id), run.attempt, state, self.now)
        self._published(store.end(run.id, run.attempt, state, seq=run.seq + 1, now=self.now), expected)

    @has_runs
    @rule(number=NUMBERS)
    def fail_for_now(self, number: int) -> None:
        """The runner will deliver the task again."""
        run = pick(self.runs, number)
        expected = self.model.set_retrying(self.model.tasks.get(run.id), run.attempt, self.now)
        self._published(store.set_retrying(run.id, run.attempt, seq=run.seq + 1, now=self.now), expected)

    @has_runs
    @rule(number=NUMBERS)
    def take_back(self, number: int) -> None:
        """Of a run that is presumed lost, if there is one."""
        lost = {task.id: task.attempt for task in self.model.tasks.values() if task.state is State.LOST}
        run = pick([run for run in self.runs if lost.get(run.id) == run.attempt] or self.runs, number)
        expected = self.model.take_back(self.model.tasks.get(run.id), run.attempt, self.now)
        answer = store.take_back(run.claim, now=self.now)
        assert (answer is not None) == expected
        if answer is not None:
            run.claim, changed = answer
            run.seq = run.claim.seq
            self._published(changed, expected)

    # By readers, and by time ---------------------------------------------------------------------

    @has_runs
    @rule()
    def fall_silent(self) -> None:
        """All leases expire."""
        self.now += LEASE_S + 1
        self.expire()

    @has_tasks
    @rule()
    def expire(self) -> None:
        expected = self.model.expire(list(self.model.tasks), self.now)
        ended = store.expire(now=self.now)
        assert {UUID(change.snapshot.id) for change in ended} == expected
        for change in ended:
            self._published(change, True)

    @rule(topic=st.sampled_from([ADA.topic, BOB.topic, NOBODY]))
    def read(self, topic: str) -> None:
        listed = [task for task in self.model.tasks.values() if self.model.is_listed(task, topic, self.now)]
        self.model.read([task.id for task in listed], self.now)
        envelopes = store.read_topics([topic], now=self.now)
        snapshots = {it.snapshot.id: it.snapshot for it in envelopes if it.snapshot}
        assert snapshots.keys() == {str(task.id) for task in listed}
        for task in listed:
            snapshot = snapshots[str(task.id)]
            assert (snapshot.state, snapshot.attempt) == (task.state, task.attempt)
        untold = [message for message in self.model.messages.values() if message.shown_at is None]
        notices = [it.notice for it in envelopes if it.notice and it.notice.text.find("is back") < 0]
        assert len(notices) == sum(message.topic == topic for message in untold)

    @rule(seconds=JUMPS)
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.model.groups)
    @rule(days=DAYS)
    def prune(self, days: float) -> None:
        now = self.now + days * 86_400.0
        self.model.prune(now)
        for change in store.prune(now=now).given_up:
            self._published(change, True)

    # Notices -------------------------------------------------------------------------------------

    @has_messages
    @rule(number=NUMBERS, page=st.sampled_from(PAGES), owner=OWNERS)
    def hold(self, number: int, page: str, owner: Owner) -> None:
        end = pick(list(self.model.messages), number)
        expected = self.model.hold(self.model.messages[end], str(owner.topic), page, self.now)
        answer = store.hold_notice(notice_of(end), [str(owner.topic)], page, now=self.now)
        assert answer.granted == expected

    @has_messages
    @rule(number=NUMBERS, page=st.sampled_from(PAGES), owner=OWNERS)
    def confirm(self, number: int, page: str, owner: Owner) -> None:
        end = pick(list(self.model.messages), number)
        expected = self.model.confirm(self.model.messages[end], str(owner.topic), page, self.now)
        assert store.confirm_notice(notice_of(end), [str(owner.topic)], page, now=self.now) == expected

    @has_messages
    @rule(number=NUMBERS, owner=OWNERS)
    def take(self, number: int, owner: Owner) -> None:
        end = pick(list(self.model.messages), number)
        expected = self.model.take(self.model.messages[end], str(owner.topic), self.now)
        assert store.take_notice(notice_of(end), [str(owner.topic)], now=self.now) == expected

    # What always holds ---------------------------------------------------------------------------

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        rows = {row.pk: row for row in TaskState.objects.all()}
        assert rows.keys() == self.model.tasks.keys()
        for id, row in rows.items():
            key = row.open_key is not None
            found = State(row.state), row.attempt, row.cancel_requested, row.lease_until, row.ended_at, key
            assert found == self.model.tasks[id].visible
            order = row.snapshot.order
            assert order >= self.newest.get(id, order), "a row went back, or more was published than committed"
            self.newest[id] = order

    @invariant()
    def each_end_has_one_notice(self) -> None:
        told = StoredNotice.objects.exclude(task=None)
        columns = ("task_id", "attempt", "topic", "created_at", "holder", "held_until", "shown_at")
        found = {(it[0], it[1]): it[2:] for it in told.exclude(attempt=None).values_list(*columns)}
        expected = {
            end: (it.topic, it.created_at, it.holder, it.held_until, it.shown_at)
            for end, it in self.model.messages.items()
        }
        assert found == expected
        assert told.filter(attempt=None).count() == len(self.model.recoveries)

    # Shared --------------------------------------------------------------------------------------

    @property
    def _delivered(self) -> list[Task]:
        """The tasks that a runner has a message of: groups are run by none."""
        return [task for task in self.model.tasks.values() if task.id not in self.model.groups]

    def _published(self, change: Changed | None, expected: bool) -> None:
        assert (change is not None) == expected
        while change is not None:
            id, order = UUID(change.snapshot.id), change.snapshot.order
            self.newest[id] = max(order, self.newest.get(id, order))
            change = change.group


def member() -> store.Member:
    return store.Member(runner_id=uuid4().hex, name="work", label="Work", args=(), kwargs={})


def verdict_of(saved: store.Saved) -> str:
    """The answer to a report, in the model's words."""
    if saved.unknown or saved.lost or saved.fenced:
        return "unknown" if saved.unknown else "lost" if saved.lost else "fenced"
    return "cancel" if saved.cancel_requested else "saved"


def notice_of(end: tuple[UUID, int]) -> Any:
    """The id of the notice of an end."""
    return StoredNotice.objects.values_list("pk", flat=True).get(task=end[0], attempt=end[1])
