"""The tests' tasks for the thread runner: tracked functions, no more."""

import asyncio
from collections.abc import AsyncIterator

import telltale
from telltale.testing.runners import Work, write


@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    Work.count(log, steps, pause_s)


@telltale.tracked
def fail(log: str) -> None:
    Work.fail(log)


@telltale.tracked
def crash(log: str) -> None:
    Work.crash(log)


@telltale.tracked
def hold(log: str, gate: str) -> None:
    Work.hold(log, gate)


@telltale.tracked
def rows(log: str) -> None:
    Work.rows(log)


@telltale.tracked(label="Count twice", key=lambda log, gate: f"held-{gate}")
def hold_alone(log: str, gate: str) -> None:
    Work.hold(log, gate)


@telltale.tracked
def calls_itself(log: str, depth: int) -> None:
    write(log, f"depth-{depth}")
    if depth:
        calls_itself(log, depth - 1)


@telltale.tracked
def calls_another(log: str) -> None:
    Work.count(log, 2, 0.0)
    count(log, 1, 0.0)


@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await Work.count_async(log, steps)


@telltale.tracked
async def count_numbers(log: str, steps: int) -> None:
    write(log, "count_numbers")
    async for _ in telltale.progress(_numbers(steps)):
        await asyncio.sleep(0)


@telltale.tracked
def starts_a_child(log: str) -> None:
    telltale.enqueue(count, log, 1, 0.0)


async def _numbers(steps: int) -> AsyncIterator[int]:
    for number in range(steps):
        yield number
