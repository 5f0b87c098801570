"""The runner in docs/runners/write-your-own.md keeps the contract. Its code is read from the page."""

import re
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale.testing.runners import RunnerContract, TaskFunctions

PAGE = Path(__file__).parents[2] / "docs" / "runners" / "write-your-own.md"
CODE = re.search(r"```python\n(# shop/runner.py\n.+?)```", PAGE.read_text(encoding="utf-8"), re.S)
assert CODE is not None
shop: Any = types.ModuleType("shop")
exec(compile(CODE[1], str(PAGE), "exec"), shop.__dict__)  # noqa: S102 (it is our own page)

is_started = threading.Event()


class PausableRunner(shop.ShopRunner):  # type: ignore[misc]
    """The page's runner, whose threads wait while the worker is paused."""

    def work(self, task: Any, call: Any) -> None:
        is_started.wait(30)
        super().work(task, call)


def make_task(name: str) -> Any:
    """The task of that name. `ShopRunner` finds it as an attribute of this module."""
    task: Any = telltale.tracked(runner="shop")(getattr(TaskFunctions, name))
    task.__module__, task.__qualname__ = __name__, name
    return task


count = make_task("count")
fail = make_task("fail")
crash = make_task("crash")
wait_for_file = make_task("wait_for_file")
catch_exceptions = make_task("catch_exceptions")


class ShopWorker:
    tasks = types.SimpleNamespace(
        count=count, fail=fail, crash=crash, wait_for_file=wait_for_file, catch_exceptions=catch_exceptions
    )

    def start(self) -> None:
        is_started.set()

    def pause(self) -> None:
        is_started.clear()


class TestShopRunner(RunnerContract):
    @pytest.fixture
    def worker(self, settings: Any) -> Iterator[ShopWorker]:
        settings.TELLTALE = {**settings.TELLTALE, "RUNNERS": [f"{__name__}.PausableRunner"]}
        yield ShopWorker()
        is_started.set()
        for thread in threading.enumerate():
            if "work" in thread.name:
                thread.join(10)


def test_the_runner_has_at_most_sixty_lines() -> None:
    assert CODE is not None
    assert len([line for line in CODE[1].splitlines() if line.strip()]) <= 60
