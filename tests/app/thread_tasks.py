"""The tests' tasks for the thread runner: plain tracked functions."""

import asyncio
import json
from collections.abc import AsyncIterator

import telltale
from telltale.testing.runners import TaskFunctions, append_line


@telltale.tracked
def count(log: str, steps: int, pause_s: float) -> None:
    TaskFunctions.count(log, steps, pause_s)


@telltale.tracked
def fail(log: str) -> None:
    TaskFunctions.fail(log)


@telltale.tracked
def crash(log: str) -> None:
    TaskFunctions.crash(log)


@telltale.tracked
def wait_for_file(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@telltale.tracked
def catch_exceptions(log: str) -> None:
    TaskFunctions.catch_exceptions(log)


@telltale.tracked(label="Count twice", key=lambda log, file: f"wait-for-{file}")
def wait_with_key(log: str, file: str) -> None:
    TaskFunctions.wait_for_file(log, file)


@telltale.tracked(label="Build the report", key=lambda number: f"report-{number}")
def build_own_report(number: int) -> None:
    raise telltale.TaskError("The tests end it before.")


@telltale.tracked(label="Build the report", key=lambda number: f"report-{number}", shared=True)
def build_shared_report(number: int) -> None:
    raise telltale.TaskError("The tests end it before.")


@telltale.tracked
def log_argument(log: str, value: object) -> None:
    append_line(log, json.dumps(value).replace(" ", ""))
    raise telltale.TaskError("once")


@telltale.tracked
def calls_itself(log: str, depth: int) -> None:
    append_line(log, f"depth-{depth}")
    if depth:
        calls_itself(log, depth - 1)


@telltale.tracked
def calls_another(log: str) -> None:
    TaskFunctions.count(log, 2, 0.0)
    count(log, 1, 0.0)


@telltale.tracked
async def count_async(log: str, steps: int) -> None:
    await TaskFunctions.count_async(log, steps)


@telltale.tracked
async def count_numbers(log: str, steps: int) -> None:
    append_line(log, "count_numbers")
    async for _ in telltale.progress(_numbers(steps)):
        await asyncio.sleep(0)


@telltale.tracked
def starts_a_child(log: str) -> None:
    telltale.enqueue(count, log, 1, 0.0)


async def _numbers(steps: int) -> AsyncIterator[int]:
    for number in range(steps):
        yield number
