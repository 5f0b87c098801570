"""Each mechanism of the store has a short history that the state machine finds fault with when it is removed.

The histories are what Hypothesis found and shortened. Once in a run, on SQLite: `tests/store/test_machine.py` runs the
machine on every database.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from django.db import IntegrityError
from django.db.models import Q

from telltale.core.states import State
from telltale.store import columns, ending, notices, queueing, running, saving, write_end
from tests.store.machine.machine import ADA, BOB, StoreMachine

Step = Callable[[StoreMachine], None]


def without(names: set[str], call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, without these conditions of its first argument."""
    return lambda where, *more: call({name: value for name, value in where.items() if name not in names}, *more)


def without_attempt(*arguments: Any, condition: Mapping[str, Any], **more: Any) -> Any:
    left = {name: value for name, value in condition.items() if name != "attempt"}
    return write_end.write_end(*arguments, condition=left, **more)


def nothing(*_arguments: Any, **_more: Any) -> None:
    return None


class Sabotage(NamedTuple):
    """A name in a module of the store, what it is replaced by, and the history."""

    module: object
    name: str
    replacement: object
    history: tuple[Step, ...]


def enqueue(machine: StoreMachine) -> None:
    machine.enqueue(owner=ADA, key=None, is_shared=False, is_urgent=False)


def enqueue_shared(machine: StoreMachine) -> None:
    machine.enqueue(owner=ADA, key="report", is_shared=True, is_urgent=False)


def enqueue_own(machine: StoreMachine) -> None:
    machine.enqueue(owner=BOB, key="report", is_shared=False, is_urgent=False)


def deliver(machine: StoreMachine) -> None:
    machine.deliver(number=0)


def succeed(machine: StoreMachine) -> None:
    machine.end(number=0, state=State.SUCCEEDED)


def fail(machine: StoreMachine) -> None:
    machine.end(number=0, state=State.FAILED)


def save(machine: StoreMachine) -> None:
    machine.save(numbers=[0], is_beat=False)


def fall_silent(machine: StoreMachine) -> None:
    machine.fall_silent()


def take_back(machine: StoreMachine) -> None:
    machine.take_back(number=0)


SABOTAGES: Mapping[str, Sabotage] = {
    "an end does not name its attempt": Sabotage(
        ending, "write_end", without_attempt, (enqueue, deliver, deliver, succeed)
    ),
    "an end replaces another": Sabotage(
        write_end,
        "update_and_read_row",
        without({"ended_at", "state"}, write_end.update_and_read_row),
        (enqueue, deliver, succeed, fail),
    ),
    "a save does not name its attempt": Sabotage(
        saving, "_SAME_ATTEMPT", "id = new_id", (enqueue, deliver, succeed, save)
    ),
    "a delivery runs any task": Sabotage(running, "CLAIMABLE", frozenset(State), (enqueue, deliver, succeed, deliver)),
    "a lost attempt is lost for good": Sabotage(
        running, "_reopen", lambda row, instant: False, (enqueue, deliver, fall_silent, take_back)
    ),
    "the notice of a loss stays when its task goes on": Sabotage(
        running, "revoke_end_notice", nothing, (enqueue, deliver, fall_silent, take_back)
    ),
    "no lease expires": Sabotage(ending, "_end_lost", nothing, (enqueue, deliver, fall_silent)),
    "a key joins the tasks of all owners": Sabotage(
        queueing,
        "joinable_open_keys",
        lambda *arguments, is_shared: columns.joinable_open_keys(*arguments, is_shared=True),
        (enqueue_shared, enqueue_own),
    ),
    "a retry keeps the request to cancel": Sabotage(
        queueing,
        "NEW_ATTEMPT",
        {name: value for name, value in columns.NEW_ATTEMPT.items() if name != "cancel_requested"},
        (enqueue, lambda machine: machine.cancel(number=0), lambda machine: machine.retry(number=0)),
    ),
    "two pages hold a notice": Sabotage(
        notices,
        "_is_free",
        lambda instant: Q(shown_at=None),
        (
            enqueue,
            deliver,
            succeed,
            lambda machine: machine.hold(number=0, page="one", owner=ADA),
            lambda machine: machine.hold(number=0, page="two", owner=ADA),
        ),
    ),
    "the end of a member is not counted": Sabotage(
        ending,
        "count_end",
        nothing,
        (lambda machine: machine.enqueue_group(owner=ADA, sizes=[1]), deliver, succeed),
    ),
}

every_sabotage = pytest.mark.parametrize("name", SABOTAGES)


def play(history: tuple[Step, ...]) -> None:
    """Run the steps; the machine checks each answer, and all rows and notices after each."""
    machine = StoreMachine()
    machine.empty_the_tables()
    for step in history:
        step(machine)
        machine.rows_are_as_the_model_says()
        machine.each_end_has_one_notice()


@pytest.mark.django_db
@every_sabotage
def test_the_machine_finds_a_mechanism_of_the_store_that_is_removed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage = SABOTAGES[name]
    play(sabotage.history)
    monkeypatch.setattr(sabotage.module, sabotage.name, sabotage.replacement)
    with pytest.raises((AssertionError, IntegrityError)):
        play(sabotage.history)
