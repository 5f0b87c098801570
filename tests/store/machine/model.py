"""The model: what the store must answer, as a small register for each task. It knows neither SQL nor races.

Each method is one call of the store, and changes the registers as that call must change the rows. The table of moves is
the store's own (`core.states`); all else is written here a second time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from telltale.core.states import CLAIMABLE, RETRIABLE, State, sources

LEASE_S: Final = 105.0
HELD_S: Final = 10.0
KEEP_QUEUED_S: Final = 7 * 86_400.0
KEEP_ENDED_S: Final = 30 * 86_400.0
KEEP_UNSEEN_S: Final = 90 * 86_400.0
SHOW_ENDED_S: Final = 86_400.0

BAD: Final = (State.FAILED, State.LOST, State.CANCELLED)

End = tuple[UUID, int]
"""A task and its attempt."""


@dataclass(eq=False, kw_only=True)
class Task:
    """What the row must say."""

    id: UUID
    topic: str | None
    created_at: float
    key: tuple[str, str] | None = None
    """The key, and the topic within which it counts."""
    has_key: bool = False
    """Whether calls with this key join it."""
    state: State = State.QUEUED
    attempt: int = 1
    cancel_requested: bool = False
    lease_until: float | None = None
    ended_at: float | None = None
    beat_at: float | None = None
    has_started: bool = False
    """In this attempt."""
    due_at: float | None = None
    group: UUID | None = None
    step: int = 0

    @property
    def visible(self) -> tuple[object, ...]:
        """What is compared with the row."""
        key = self.has_key
        return self.state, self.attempt, self.cancel_requested, self.lease_until, self.ended_at, key


@dataclass(eq=False, kw_only=True)
class Message:
    """What the notice of an end must say."""

    topic: str
    created_at: float
    holder: str = ""
    held_until: float | None = None
    shown_at: float | None = None

    def is_free(self, now: float) -> bool:
        """Whether a page may take it: it was not shown, and no page holds it."""
        is_held = self.held_until is not None and now < self.held_until <= now + 2 * HELD_S
        return self.shown_at is None and not is_held


@dataclass(eq=False)
class Model:
    """All tasks, groups (the ids of the members of each step) and notices of ends."""

    tasks: dict[UUID, Task] = field(default_factory=dict)
    groups: dict[UUID, list[list[UUID]]] = field(default_factory=dict)
    messages: dict[End, Message] = field(default_factory=dict)
    recoveries: list[tuple[UUID, float]] = field(default_factory=list)
    """Notices that a task goes on, which a page was told to be lost: of which task, and when. No page asks for them."""
    counted: dict[UUID, int] = field(default_factory=dict)
    """How many members of a group had ended when it was counted last."""

    # By people -----------------------------------------------------------------------------------

    def joinable(self, key: tuple[str, str] | None, now: float) -> Task | None:
        """The open task that a call with this key joins; one whose lease expired ends."""
        found = self._with_key(key)
        if found is None or not self._is_expired(found, now):
            return found
        self.expire([found.id], now)
        return None

    def request_cancel(self, task: Task, now: float) -> bool:
        """Whether the request changes anything, or has before while the task runs."""
        if task.state in sources(State.CANCELLED) - {State.RUNNING}:
            self._end(task, State.CANCELLED, now)
            return True
        task.cancel_requested = task.cancel_requested or task.state is State.RUNNING
        return task.state is State.RUNNING

    def requeue(self, task: Task, now: float) -> bool:
        """Whether another attempt is queued."""
        self.expire([task.id], now)
        if task.state not in RETRIABLE or self._with_key(task.key) is not None:
            return False
        self._begin_attempt(task, State.QUEUED)
        task.due_at = now
        return True

    # By workers ----------------------------------------------------------------------------------

    def claim(self, task: Task, now: float) -> bool:
        """Whether a delivery may run the task."""
        if task.cancel_requested:
            if not task.state.ended:
                self._end(task, State.CANCELLED, now)
            return False
        if task.state not in CLAIMABLE:
            return False
        was_ended = task.state.ended
        if task.state is State.QUEUED:
            task.state = State.RUNNING
        else:
            self._begin_attempt(task, State.RUNNING)
        self._run(task, now)
        if was_ended:
            self._reopen_group(task, now)
        return True

    def save(self, task: Task | None, attempt: int, now: float) -> str:
        """The verdict on a report."""
        if task is None:
            return "unknown"
        if (task.attempt, task.state) == (attempt, State.LOST):
            return "lost"
        if (task.attempt, task.state) != (attempt, State.RUNNING):
            return "fenced"
        task.lease_until, task.beat_at = now + LEASE_S, now
        return "cancel" if task.cancel_requested else "saved"

    def end(self, task: Task | None, attempt: int, state: State, now: float) -> bool:
        """Whether a worker's end counts."""
        if task is None or task.attempt != attempt or task.state not in sources(state):
            return False
        self._end(task, state, now)
        return True

    def set_retrying(self, task: Task | None, attempt: int, now: float) -> bool:
        """Whether a worker's failure counts, after which the runner runs the task again."""
        if task is None or task.attempt != attempt or task.state not in sources(State.RETRYING):
            return False
        if task.cancel_requested:
            self._end(task, State.CANCELLED, now)
        else:
            task.state, task.lease_until, task.beat_at, task.due_at = State.RETRYING, None, now, None
        return True

    def take_back(self, task: Task | None, attempt: int, now: float) -> bool:
        """Whether a living worker continues its lost attempt, under the next number."""
        if task is None or (task.attempt, task.state) != (attempt, State.LOST):
            return False
        self._reopen(task, now)
        self._run(task, now)
        self._reopen_group(task, now)
        return True

    # By readers ----------------------------------------------------------------------------------

    def expire(self, ids: Iterable[UUID], now: float) -> set[UUID]:
        """The tasks that end because their lease expired: a waiting one as failed, a running one as lost."""
        expired = [self.tasks[id] for id in ids if self._is_expired(self.tasks[id], now)]
        for task in expired:
            if not task.state.ended:  # Its group has ended it meanwhile.
                self._end(task, State.FAILED if task.state is State.QUEUED else State.LOST, now)
        return {task.id for task in expired}

    def read(self, ids: Sequence[UUID], now: float) -> None:
        """A read ends what expired among these tasks and the members of their open groups, and counts those groups."""
        groups = [id for id in ids if id in self.groups and not self.tasks[id].state.ended]
        members = [member for group in groups for step in self.groups[group] for member in step]
        self.expire([*ids, *members], now)
        for group in groups:
            self._count(group, now)

    def is_listed(self, task: Task, topic: str, now: float) -> bool:
        """Whether a follower of `topic` is sent the task."""
        return task.topic == topic and (task.ended_at is None or task.ended_at >= now - SHOW_ENDED_S)

    # Notices -------------------------------------------------------------------------------------

    def hold(self, message: Message, topic: str, page: str, now: float) -> bool:
        """Whether the page may show the notice."""
        is_granted = message.topic == topic and message.shown_at is None
        is_granted = is_granted and (message.is_free(now) or message.holder == page)
        if is_granted:
            message.holder, message.held_until = page, now + HELD_S
        return is_granted

    def confirm(self, message: Message, topic: str, page: str, now: float) -> bool:
        """Whether the page is the first to say that it has shown the notice."""
        return self._show(message, now, message.shown_at is None and (message.topic == topic or message.holder == page))

    def take(self, message: Message, topic: str, now: float) -> bool:
        """Whether a page that can't confirm may show the notice."""
        return self._show(message, now, message.is_free(now) and message.topic == topic)

    def _show(self, message: Message, now: float, is_due: bool) -> bool:
        if is_due:
            message.shown_at = now
        return is_due

    # Housekeeping --------------------------------------------------------------------------------

    def prune(self, now: float) -> None:
        """Forget what is kept no longer, and give up what never began."""
        for end, message in list(self.messages.items()):
            since, kept_s = (message.created_at, KEEP_UNSEEN_S)
            if message.shown_at is not None:
                since, kept_s = (message.shown_at, KEEP_ENDED_S)
            if since < now - kept_s:
                del self.messages[end]
        self.recoveries = [(id, since) for id, since in self.recoveries if since >= now - KEEP_UNSEEN_S]
        untold = {id for (id, _attempt), message in self.messages.items() if message.shown_at is None}
        untold |= {id for id, _since in self.recoveries}
        for task in list(self.tasks.values()):
            if task.ended_at is not None and task.ended_at < now - KEEP_ENDED_S and task.id not in untold:
                del self.tasks[task.id]
                # Notices that are kept no longer than their task stay, without it: the machine looks at none of them.
                self._forget_messages(task.id)
        for task in list(self.tasks.values()):
            waits_since = task.due_at or (task.created_at if task.state is State.QUEUED else task.beat_at)
            is_waiting = task.state in (State.QUEUED, State.RETRYING)
            if is_waiting and waits_since is not None and waits_since < now - KEEP_QUEUED_S:
                self._end(task, State.FAILED, now)

    def _forget_messages(self, task: UUID) -> None:
        for end in [end for end in self.messages if end[0] == task]:
            del self.messages[end]

    # Registers -----------------------------------------------------------------------------------

    def _with_key(self, key: tuple[str, str] | None) -> Task | None:
        return next((task for task in self.tasks.values() if key and task.has_key and task.key == key), None)

    def _is_expired(self, task: Task, now: float) -> bool:
        return task.ended_at is None and task.lease_until is not None and task.lease_until < now

    def _begin_attempt(self, task: Task, state: State) -> None:
        """A new attempt; it has its key again, unless another task has taken that."""
        if task.ended_at is not None:
            self._regain_key(task)
        task.attempt += 1
        task.state, task.cancel_requested = state, False
        task.ended_at = task.lease_until = task.beat_at = task.due_at = None
        task.has_started = False

    def _regain_key(self, task: Task) -> None:
        if self._with_key(task.key) is not None:
            task.key = None
        task.has_key = task.key is not None

    def _run(self, task: Task, now: float) -> None:
        task.lease_until, task.beat_at, task.due_at, task.has_started = now + LEASE_S, now, None, True

    def _end(self, task: Task, state: State, now: float) -> None:
        task.state, task.ended_at, task.lease_until, task.has_key, task.due_at = state, now, None, False, None
        task.cancel_requested = task.cancel_requested or state is State.CANCELLED
        if task.topic is not None:
            self.messages[task.id, task.attempt] = Message(topic=task.topic, created_at=now)
        if task.group is not None:
            self._count(task.group, now)

    def _reopen(self, task: Task, now: float) -> None:
        """An end is taken back: the notice of it, if no page has it, and the key, unless another task has it."""
        message = self.messages.get((task.id, task.attempt))
        if message is not None and message.is_free(now):
            del self.messages[task.id, task.attempt]
        elif message is not None:
            self.recoveries.append((task.id, now))
        self._regain_key(task)
        task.attempt += 1
        task.state, task.ended_at = State.RUNNING, None

    # Groups --------------------------------------------------------------------------------------

    def _count(self, group_id: UUID, now: float) -> None:
        group = self.tasks[group_id]
        steps = [[self.tasks[id] for id in step] for step in self.groups[group_id]]
        if group.state.ended:
            return
        if group.state is State.QUEUED and any(member.state is not State.QUEUED for step in steps for member in step):
            group.state, group.lease_until = State.RUNNING, now + KEEP_QUEUED_S
        ended_count = sum(member.state.ended for step in steps for member in step)
        state = self._outcome(group, steps)
        if state is None:
            if ended_count != self.counted.get(group_id, 0):
                group.lease_until = now + KEEP_QUEUED_S
            self.counted[group_id] = ended_count
            return
        self._end(group, state, now)
        self.counted[group_id] = ended_count
        for member in [member for step in steps for member in step if state is not State.SUCCEEDED]:
            if member.state is State.QUEUED:
                member.state, member.ended_at = State.FAILED, now

    def _outcome(self, group: Task, steps: Sequence[Sequence[Task]]) -> State | None:
        for step in steps:
            states = [member.state for member in step]
            if not all(state.ended for state in states):
                return None
            is_bad = State.FAILED in states or State.LOST in states
            if group.cancel_requested or (State.CANCELLED in states and not is_bad):
                return State.CANCELLED
            if is_bad:
                return State.FAILED
        return State.SUCCEEDED

    def _reopen_group(self, member: Task, now: float) -> None:
        """A member runs again: its group goes on, unless another member of this step or an earlier one keeps it."""
        if member.group is None or (group := self.tasks[member.group]).state is not State.FAILED:
            return
        members = [self.tasks[id] for step in self.groups[group.id] for id in step if id != member.id]
        if any(other.state in BAD and other.step <= member.step for other in members):
            return
        self._reopen(group, now)
        group.lease_until = now + KEEP_QUEUED_S
        for other in members:
            if other.step > member.step and other.state is State.FAILED and not other.has_started:
                other.state, other.ended_at = State.QUEUED, None
                other.attempt += 1
        self._count(group.id, now)
