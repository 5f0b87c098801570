"""The runner of `docs/runners/write-your-own.md`, taken from the page as it stands there, held to the contract."""

import re
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import telltale
from telltale.testing.runners import RunnerContract, Work

PAGE = Path(__file__).parents[2] / "docs" / "runners" / "write-your-own.md"
CODE = re.search(r"```python\n(# shop/runner.py\n.+?)```", PAGE.read_text(encoding="utf-8"), re.S)
assert CODE is not None
shop: Any = types.ModuleType("shop")
exec(compile(CODE[1], str(PAGE), "exec"), shop.__dict__)  # noqa: S102 (it is our own page)

file = threading.Event()


class OwnRunner(shop.ShopRunner):  # type: ignore[misc]
    """The page's runner; its threads can be held back, as a worker that is not there."""

    def work(self, task: Any, call: Any) -> None:
        file.wait(30)
        super().work(task, call)


count = telltale.tracked(runner="shop")(Work.count)
fail = telltale.tracked(runner="shop")(Work.fail)
crash = telltale.tracked(runner="shop")(Work.crash)
hold = telltale.tracked(runner="shop")(Work.hold)
rows = telltale.tracked(runner="shop")(Work.rows)
for made, name in ((count, "count"), (fail, "fail"), (crash, "crash"), (hold, "wait_for_file"), (rows, "rows")):
    made.__module__, made.__qualname__ = __name__, name


class Bench:
    count, fail, crash, hold = staticmethod(count), staticmethod(fail), staticmethod(crash), staticmethod(hold)
    rows = staticmethod(rows)
    count_async = deaf = comes_again = None

    def start(self) -> None:
        file.set()

    def pause(self) -> None:
        file.clear()


class TestOwnRunner(RunnerContract):
    @pytest.fixture
    def bench(self, settings: Any) -> Iterator[Bench]:
        settings.TELLTALE = {**settings.TELLTALE, "RUNNERS": [f"{__name__}.OwnRunner"]}
        yield Bench()
        file.set()
        for thread in threading.enumerate():
            if "work" in thread.name:
                thread.join(10)


def test_the_page_keeps_its_promise_of_sixty_lines() -> None:
    assert CODE is not None
    assert len([line for line in CODE[1].splitlines() if line.strip()]) <= 60
