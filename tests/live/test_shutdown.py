"""The signal handler that drains before the server's own runs."""

import asyncio
import os
import signal
from typing import Any

import pytest

from telltale.live import shutdown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_drain_that_fails_does_not_keep_the_process_from_stopping(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: signal.Signals
) -> None:
    """The handler may interrupt an import, and then the drain finds half of a module."""
    handled: list[int] = []

    def fail() -> None:
        raise ImportError("The test says so.")

    def handle(number: int, _frame: Any) -> None:
        handled.append(number)

    async def serve() -> None:
        shutdown.drain_on_signals(fail)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(shutdown, "_drains", {})
    previous = {each: signal.signal(each, handle) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(serve())
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
    assert handled == [number]
    assert "could not be closed before the process stops" in caplog.text
