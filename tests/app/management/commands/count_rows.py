"""A command with a loop over `telltale.progress`, for the tests of its bar."""

import asyncio
from argparse import ArgumentParser
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

import telltale
from tests.transports.sites import wait_until


class Command(BaseCommand):
    """Counts 4 rows. After the second it calls `pause`, or waits for the file `--until`."""

    pause: Callable[["Command"], object] | None = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--until", type=Path)
        parser.add_argument("--asynchronous", action="store_true")
        parser.add_argument("--fail", action="store_true")
        parser.add_argument("--track", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["track"]:
            with telltale.track("Count rows"):
                self._count(options)
        elif options["asynchronous"]:
            asyncio.run(self._count_async(options))
        else:
            self._count(options)
        self.stdout.write("Counted")

    def _count(self, options: dict[str, Any]) -> None:
        for number in telltale.progress(range(4), unit="rows", message="Reading"):
            self._work(number, options)

    async def _count_async(self, options: dict[str, Any]) -> None:
        async for number in telltale.progress(_numbers(), total=4, unit="rows", message="Reading"):
            self._work(number, options)

    def _work(self, number: int, options: dict[str, Any]) -> None:
        self.stdout.write(f"Row {number}")
        if number == 2:
            until = options["until"]
            if until is not None:
                wait_until(until.exists, f"{until} exists")
            if self.pause is not None:
                self.pause(self)
            if options["fail"]:
                raise CommandError("Row 2 is broken.")


async def _numbers() -> AsyncIterator[int]:
    for number in range(4):
        yield number
