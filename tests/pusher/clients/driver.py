"""A driver process for a client library, and the clients in it. Commands, answers and events are lines of JSON."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parents[1] / "drivers"
PATIENCE_S: Final = 50.0

Record = dict[str, Any]


class LibraryError(Exception):
    """The library refused; the fields are those of its own error."""

    def __init__(self, error: Record) -> None:
        super().__init__(f"{error.get('name')}: {error.get('message')} {error.get('body') or ''}")
        self.status: int | None = error.get("status")
        self.body: str = error.get("body") or ""


class Driver:
    """One process, for many clients."""

    def __init__(self, script: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.arguments = arguments
        program = "node" if script.endswith(".js") else sys.executable
        command = [program, str(DIRECTORY / script), *arguments]
        pipe, environment = subprocess.PIPE, {**os.environ, **(env or {})}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, env=environment)
        self._numbers = itertools.count(1)
        self._answers: dict[int, Record] = {}
        self._events: dict[str, list[Record]] = {}
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"reads {script}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            record = json.loads(line)
            with self._news:
                if "call" in record:
                    self._answers[record["call"]] = record
                else:
                    self._events.setdefault(record["client"], []).append(record)
                self._news.notify_all()

    def call(self, command: str, **argument: Any) -> Any:
        """Return what the command returned; raises `LibraryError`."""
        number = next(self._numbers)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": number, "command": command, **argument}) + "\n")
        self._process.stdin.flush()
        with self._news:
            has_answer = self._news.wait_for(lambda: number in self._answers, PATIENCE_S)
            assert has_answer, f"{command} {argument} was not answered; the driver's exit code: {self._process.poll()}"
            answer = self._answers.pop(number)
        if "error" in answer:
            raise LibraryError(answer["error"])
        return answer["value"]

    def wait(self, client: str, matching: Record) -> Record:
        """Remove and return the client's first event with these fields."""
        give_up_at = time.monotonic() + PATIENCE_S
        with self._news:
            while (found := _first(self._events.get(client, []), matching)) is None:
                left_s = give_up_at - time.monotonic()
                assert left_s > 0, f"{client} saw no {matching}, but {self._events.get(client)}"
                self._news.wait(left_s)
            self._events[client].remove(found)
        return found

    def seen(self, client: str, matching: Record) -> list[Record]:
        """Return the client's events with these fields that no test has waited for."""
        with self._news:
            return [record for record in self._events.get(client, []) if _matches(record, matching)]

    def stop(self) -> None:
        """End the process by the end of its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()


def _matches(record: Record, matching: Record) -> bool:
    return all(key in record and record[key] == value for key, value in matching.items())


def _first(records: list[Record], matching: Record) -> Record | None:
    return next((record for record in records if _matches(record, matching)), None)


class Client:
    """A named client in a driver's process."""

    def __init__(self, driver: Driver, name: str, **connect: Any) -> None:
        self.driver, self.name = driver, name
        self.first_answer = self.call("connect", **connect)

    def call(self, command: str, **argument: Any) -> Any:
        return self.driver.call(command, client=self.name, **argument)

    def wait(self, **matching: Any) -> Record:
        return self.driver.wait(self.name, matching)

    def seen(self, **matching: Any) -> list[Record]:
        return self.driver.seen(self.name, matching)

    def close(self) -> None:
        self.call("close")
