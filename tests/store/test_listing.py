"""The whole list of an owner's tasks: each task once over all pages, open ones first, the newest first."""

import pytest

from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from telltale.owners import Owner
from tests.factories import person
from tests.store.factories import claim, queue

pytestmark = pytest.mark.django_db(transaction=True)


def pages(owner: Owner, size: int) -> list[list[TaskState]]:
    """All pages, each read from the text of the place where the page before it ended."""
    found = [store.list_tasks(owner, size=size)]
    while found[-1].next is not None:
        after = store.TaskPlace.parse(str(found[-1].next))
        assert after == found[-1].next
        found.append(store.list_tasks(owner, after=after, size=size))
    return [page.tasks for page in found]


def end(task: TaskState, ended_at: float) -> None:
    assert store.end(task.pk, claim(task).attempt, State.SUCCEEDED)
    TaskState.objects.filter(pk=task.pk).update(ended_at=ended_at)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 20])
def test_the_pages_hold_each_task_once_in_order_also_tasks_of_the_same_instants(size: int) -> None:
    owner = Owner(user_id=person().pk)
    tasks = [queue(owner=owner, label=str(number), now=1_000.1 + number // 3) for number in range(7)]
    for task in tasks[:4]:
        end(task, ended_at=2_000.3 if task.label < "3" else 3_000.0)
    queue(owner=Owner(user_id=person("grace").pk))
    read = pages(owner, size)
    assert all(len(page) == size for page in read[:-1])
    listed = [task for page in read for task in page]
    assert sorted(task.label for task in listed) == list("0123456")
    assert [(task.ended_at, task.created_at) for task in listed] == [
        (None, 1_002.1),
        (None, 1_001.1),
        (None, 1_001.1),
        (3_000.0, 1_001.1),
        *[(2_000.3, 1_000.1)] * 3,
    ]


def test_a_task_that_is_queued_between_two_pages_shows_no_other_task_twice() -> None:
    owner = Owner(session="a")
    for number in range(6):
        queue(owner=owner, label=str(number), now=1_000.0 + number)
    first = store.list_tasks(owner, size=3)
    queue(owner=owner, label="new", now=2_000.0)
    second = store.list_tasks(owner, after=first.next, size=3)
    assert [task.label for task in first.tasks + second.tasks] == list("543210")


def test_tasks_of_all_names_of_a_session_are_listed_in_one_order() -> None:
    owner = Owner(session="a", earlier_sessions=("b", "c"))
    for number in range(9):
        task = queue(owner=Owner(session="abc"[number % 3]), label=str(number), now=1_000.0 + number)
        if number < 4:
            end(task, ended_at=3_000.0 - number)
    assert [[task.label for task in page] for page in pages(owner, 2)] == [
        ["8", "7"],
        ["6", "5"],
        ["4", "0"],
        ["1", "2"],
        ["3"],
    ]


def test_an_owner_of_nothing_has_one_empty_page() -> None:
    queue()
    assert store.list_tasks(Owner()) == store.TaskPage(tasks=[], next=None)


def test_a_task_whose_lease_expired_is_listed_as_ended() -> None:
    owner = Owner(session="a")
    lost, waiting = queue(owner=owner, label="lost"), queue(owner=owner, label="waiting")
    store.claim(task_id=lost.pk, worker="w", now=store.now() - 10_000)
    listed = store.list_tasks(owner).tasks
    assert [(task.pk, task.state) for task in listed] == [(waiting.pk, "queued"), (lost.pk, "lost")]


@pytest.mark.parametrize(
    "text",
    ["", "_", "open", "open_1.0", "open_x_{}", "open_nan_{}", "inf_1_{}", "open_1.0_7", "open_1.0_{}_", "-_1_{}"],
)
def test_a_text_that_stands_for_no_place_is_recognized(text: str) -> None:
    assert store.TaskPlace.parse(text.format("3f2504e0-4f89-41d3-9a0c-0305e82c3301")) is None
