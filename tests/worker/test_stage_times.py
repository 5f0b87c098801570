"""The row keeps how long the stages of the last attempt took, however the attempt ends."""

import time

import pytest

import telltale
from telltale import store
from telltale.core.stage_times import StageTime, read_stage_times
from telltale.core.states import State
from telltale.models import TaskState
from telltale.worker.ending import Verdict
from telltale.worker.run import run_attempt
from tests.worker.conftest import assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)


def times_of(task: TaskState) -> list[StageTime]:
    return read_stage_times(TaskState.objects.get(pk=task.pk).stage_times)


def names_of(task: TaskState) -> list[str]:
    return [stage.name for stage in times_of(task)]


def test_a_success_keeps_all_of_its_stages(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        with telltale.stage("Reading", weight=0.5):
            time.sleep(0.05)
        for _part in range(2):
            with telltale.stage("Writing", weight=0.25), telltale.stage("Inner"):
                pass
    reading, writing = times_of(task)
    assert (reading.name, reading.times, writing.name, writing.times) == ("Reading", 1, "Writing", 2)
    assert 0.05 <= reading.took_s < 60
    assert writing.took_s < reading.took_s + 60


def test_a_task_without_stages_keeps_none(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        pass
    assert TaskState.objects.get(pk=task.pk).stage_times is None


def test_a_failure_keeps_the_stage_in_which_it_failed_and_the_next_attempt_begins_anew(queue) -> None:
    task = queue()
    with pytest.raises(OSError, match="busy"), run_attempt(task_id=task.pk), telltale.stage("Reading"):
        raise OSError("busy")
    assert names_of(task) == ["Reading"]
    store.requeue(task.pk)
    assert times_of(task) == []


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["retried", "cancelled meanwhile"])
def test_an_attempt_that_will_be_retried_keeps_them(queue, is_cancelled: bool) -> None:
    task = queue()
    with (
        pytest.raises(OSError, match="busy"),
        run_attempt(task_id=task.pk, verdict=lambda _: Verdict(state=State.RETRYING)),
        telltale.stage("Reading"),
    ):
        if is_cancelled:
            store.request_cancel(task.pk)
        raise OSError("busy")
    assert TaskState.objects.get(pk=task.pk).state == ("cancelled" if is_cancelled else "retrying")
    assert names_of(task) == ["Reading"]


def test_a_process_that_is_stopped_after_a_request_to_cancel_keeps_them(queue) -> None:
    task = queue()
    with pytest.raises(SystemExit), run_attempt(task_id=task.pk), telltale.stage("Reading"):
        store.request_cancel(task.pk)
        raise SystemExit
    assert TaskState.objects.get(pk=task.pk).state == "cancelled"
    assert names_of(task) == ["Reading"]


def test_saves_keep_them_so_a_killed_workers_task_has_them_too(queue) -> None:
    task = queue()
    with run_attempt(task_id=task.pk):
        with telltale.stage("Reading"):
            assert_eventually(lambda: names_of(task) == ["Reading"])
        with telltale.stage("Writing"):
            assert_eventually(lambda: names_of(task) == ["Reading", "Writing"])
        telltale.current().message = "Tidying up"
        seq = TaskState.objects.get(pk=task.pk).seq
        assert_eventually(lambda: TaskState.objects.get(pk=task.pk).seq > seq)
        assert names_of(task) == ["Reading", "Writing"]


def test_followers_are_not_sent_them(queue, carried) -> None:
    task = queue()
    with run_attempt(task_id=task.pk), telltale.stage("Reading"):
        carried.assert_current(task, None)
    carried.assert_ended(task)
    assert not any("stage_times" in str(envelope.to_bytes()) for envelope in carried)
