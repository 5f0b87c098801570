"""Event loops and threads that come and go while each tracks its own work."""

import asyncio
import gc
import threading
import warnings

import pytest
from django.db import connections

import telltale
from telltale.models import TaskState
from tests.worker.conftest import assert_eventually

pytestmark = pytest.mark.django_db(transaction=True)

LOOPS = 20


def test_f46_work_on_event_loops_that_come_and_go_is_tracked_and_no_loop_is_kept(quick: None) -> None:
    async def work(number: int) -> None:
        async with telltale.track(f"Loop {number}") as tracker:
            tracker.current = number
            await asyncio.sleep(0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # An event loop or a coroutine that is left over is a warning.
        for number in range(1, LOOPS + 1):
            asyncio.run(work(number))
        gc.collect()
    rows = {row.label: (row.state, row.snapshot.progress.current) for row in TaskState.objects.all()}
    assert rows == {f"Loop {number}": ("succeeded", number) for number in range(1, LOOPS + 1)}


def test_f46_the_blocking_form_within_a_running_loop_and_threads_of_its_own_are_tracked_too(quick: None) -> None:
    def work(label: str) -> None:
        with telltale.track(label) as tracker:
            tracker.current = 7
        connections.close_all()

    async def mix() -> None:
        await asyncio.gather(*(asyncio.to_thread(work, f"Thread {number}") for number in range(5)))

    asyncio.run(mix())
    threads = [threading.Thread(target=work, args=(f"Own thread {number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert_eventually(lambda: TaskState.objects.filter(state="succeeded").count() == 10)
