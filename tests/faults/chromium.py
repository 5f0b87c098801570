"""Chromium as a person starts it, over its own protocol: tabs that are hidden are hidden, and timers are throttled.

Playwright starts it with options that switch that off, and tells every page that it is visible.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

from websockets.sync.client import connect

from tests.browser.conftest import CHROMIUM
from tests.transports.sites import wait_until

OPTIONS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
SOON: Final = "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/5"
"""Timers of hidden tabs run once a minute after five seconds instead of five minutes."""


class Chromium:
    """One browser, with a profile of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ids = count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            log = self._stack.enter_context((self._directory / "chromium.log").open("wb"))
            command = [CHROMIUM, *OPTIONS, SOON, f"--user-data-dir={self._directory}/profile", "about:blank"]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            self._stack.callback(self._kill)
            place = self._directory / "profile" / "DevToolsActivePort"
            wait_until(lambda: place.exists() and len(place.read_text().split()) == 2, "Chromium has started", 90)
            port, path = place.read_text().split()
            line = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=60, ping_interval=None)
            self._line = self._stack.enter_context(line)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def call(self, method: str, session: str | None = None, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        self._line.send(json.dumps(message | ({"sessionId": session} if session else {})))
        while True:
            answer = json.loads(self._line.recv(60))
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def open(self, url: str, cookies: Mapping[str, str]) -> "Tab":
        """Open a tab in front, with these cookies."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        tab = Tab(self, target, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for name, value in cookies.items():
            tab.call("Network.setCookie", name=name, value=value, url=url)
        tab.go(url)
        return tab

    def suspend(self, seconds: float) -> None:
        """Have all its processes stand still for so long, as a laptop that sleeps."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.killpg(self._process.pid, signal.SIGCONT)


class Tab:
    """One tab."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def until(self, expression: str, patience_s: float = 60.0) -> None:
        """Wait until the expression is true."""
        wait_until(lambda: self.evaluate(expression), f"{expression} in the page", patience_s)

    def show(self) -> None:
        """Put the tab in front; the others are hidden."""
        self._browser.call("Target.activateTarget", targetId=self._target)

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)
