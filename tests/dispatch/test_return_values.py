"""`tracked(result=…)`: what a task returns is kept with its end, if it is small and JSON, for its owner."""

import asyncio
import json
import logging
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

import telltale
from telltale import store
from telltale.core.snapshot import RETURN_BYTES
from telltale.core.states import State
from telltale.dispatch import return_values
from telltale.dispatch.return_values import returned_json
from telltale.models import TaskState
from telltale.owners import Owner
from telltale.testing.runners import wait_for_end
from tests.runners.workers import ThreadWorker

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=8,
)


@pytest.fixture(autouse=True)
def nothing_logged() -> Iterator[None]:
    return_values._logged.clear()
    yield
    return_values._logged.clear()


@telltale.tracked(result=True)
def repeat(value: Any) -> Any:
    return value


@telltale.tracked(result=True)
async def repeat_async(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@telltale.tracked
def keep_nothing(value: Any) -> Any:
    return value


@telltale.tracked(result=lambda report: report.pk)
def keep_its_key(pk: int) -> Any:
    return SimpleNamespace(pk=pk)


@telltale.tracked(result=True)
def return_an_object() -> Any:
    return object()


@pytest.mark.django_db(transaction=True)
class TestRuns:
    @pytest.mark.parametrize(
        "value", [{"rows": 3, "city": "Ærø", "none": None}, None, 0, "\0 \ud800", [1.5, True]], ids=ascii
    )
    def test_the_return_value_is_stored_with_the_end(self, thread_worker: ThreadWorker, value: Any) -> None:
        thread_worker.start()
        for task in (repeat, repeat_async):
            row = wait_for_end(telltale.enqueue(task, value))
            assert (row.state, row.return_value, row.has_return_value) == (State.SUCCEEDED, value, True)
            assert row.snapshot.has_return_value is True

    def test_a_function_names_what_is_kept(self, thread_worker: ThreadWorker) -> None:
        thread_worker.start()
        assert wait_for_end(telltale.enqueue(keep_its_key, 7)).return_value == 7

    def test_without_result_nothing_is_kept(self, thread_worker: ThreadWorker) -> None:
        thread_worker.start()
        row = wait_for_end(telltale.enqueue(keep_nothing, 7))
        assert (row.return_value, row.has_return_value, row.snapshot.has_return_value) == (None, False, False)

    def test_a_task_whose_value_cant_be_kept_succeeds_without_it(self, thread_worker: ThreadWorker) -> None:
        thread_worker.start()
        row = wait_for_end(telltale.enqueue(return_an_object))
        assert (row.state, row.has_return_value) == (State.SUCCEEDED, False)

    def test_a_new_attempt_forgets_the_value_of_the_last_one(self) -> None:
        task = store.queue(runner="thread", name="t", label="T").task
        claim = store.claim(task_id=task.pk, worker="w1")
        assert isinstance(claim, store.Claim)
        store.end(task.pk, 1, State.FAILED, return_json="7")
        assert TaskState.objects.get().has_return_value is True
        store.requeue(task.pk)
        assert TaskState.objects.get().has_return_value is False


@pytest.mark.django_db
class TestReaders:
    """Who reads the value in the JSON of the task."""

    @pytest.fixture
    def url(self) -> str:
        self.ada = User.objects.create_user("ada")
        task = store.queue(runner="thread", name="t", label="T", owner=Owner(user_id=self.ada.pk)).task
        store.claim(task_id=task.pk, worker="w1")
        store.end(task.pk, 1, State.SUCCEEDED, return_json='{"rows":3}')
        return reverse("telltale:task", args=[task.pk])

    def read(self, client: Client, url: str, **headers: str) -> Any:
        return client.get(url, headers={"Accept": "application/json", **headers})

    def test_the_owner_reads_it(self, url: str) -> None:
        client = Client()
        client.force_login(self.ada)
        assert self.read(client, url).json()["return_value"] == {"rows": 3}

    def test_others_who_may_follow_the_task_do_not(self, url: str, settings: Any) -> None:
        settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": "tests.pages.test_permissions.shares_everything"}
        response = self.read(Client(), url)
        assert (response.status_code, response.json()["has_return_value"]) == (200, True)
        assert "return_value" not in response.json()
        assert "rows" not in response.text

    def test_the_etag_of_the_owner_is_another_than_that_of_others(self, url: str, settings: Any) -> None:
        settings.TELLTALE = settings.TELLTALE | {"CAN_FOLLOW": "tests.pages.test_permissions.shares_everything"}
        client = Client()
        tag = self.read(client, url)["ETag"]
        client.force_login(self.ada)
        assert self.read(client, url, **{"If-None-Match": tag}).status_code == 200

    def test_what_is_published_does_not_hold_it(self, url: str) -> None:
        assert "rows" not in str(TaskState.objects.get().snapshot.to_json())


@given(JSON)
def test_f43_any_json_is_kept_as_it_is_or_is_too_large(value: Any) -> None:
    text = returned_json(value, True, "t")
    if len(json.dumps(value, separators=(",", ":"))) > RETURN_BYTES:
        assert text is None
    else:
        assert text is not None
        assert text.isascii()
        assert json.loads(text) == value


def test_the_largest_value_is_kept_and_one_byte_more_is_not() -> None:
    assert returned_json("x" * (RETURN_BYTES - 2), True, "t") is not None
    assert returned_json("x" * (RETURN_BYTES - 1), True, "t") is None


def test_a_value_without_end_costs_no_more_than_the_limit() -> None:
    class Endless(list[int]):
        def __iter__(self) -> Iterator[int]:
            while True:
                yield 1

    assert returned_json(Endless([1]), True, "t") is None


def _raise(_value: object) -> Any:
    raise ZeroDivisionError("no")


def _nested() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "keep", "reason"),
    [
        (object(), True, "not JSON serializable"),
        (math.nan, True, "not JSON compliant"),
        (_nested(), True, "Circular reference"),
        ("x" * RETURN_BYTES, True, f"more than {RETURN_BYTES:,} bytes"),
        (1, _raise, "ZeroDivisionError: no"),
    ],
    ids=["an object", "NaN", "a circle", "too large", "a function that fails"],
)
def test_what_cant_be_kept_is_logged_once_with_the_mend(
    value: Any, keep: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert [returned_json(value, keep, "shop.tasks.report") for _ in range(3)] == [None] * 3
    [record] = caplog.records
    assert reason in record.getMessage()
    assert "shop.tasks.report" in record.getMessage()
    assert "@telltale.tracked(result=lambda value: …)" in record.getMessage()
