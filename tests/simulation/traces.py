"""Recorded traces: messages of real connections, in an order in which a browser may get them, and the expected view.

Each is a scenario with the real hub and connections; `python -m tests.simulation --traces` writes them to
`tests/traces/`, and the tests of the JavaScript client replay them.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.core.health import Limits
from telltale.core.hub import Hub
from telltale.core.policy import ConnectionPolicy, Grant
from telltale.core.protocol import VERSION
from telltale.core.reasons import Reason
from telltale.core.snapshot import Order, Progress, Snapshot
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope, Event, Notice
from tests.simulation.view import View

FOLDER = Path(__file__).parent.parent / "traces"
BEGIN = 1_750_000_000.0
LIMITS = Limits(quiet_s=60.0, stalled_s=45.0, lease_s=105.0)
ADA = "user:1"
POLICY = ConnectionPolicy()


def task_id(number: int) -> str:
    """Return the UUID of task `number`."""
    return str(UUID(int=0x7E11_7A1E_0000_4000_8000_0000_0000_0000 + number))


def notice_id(number: int) -> str:
    """Return the UUID of notice `number`."""
    return str(UUID(int=0x0071_CE00_0000_4000_8000_0000_0000_0000 + number))


class Scenario:
    """A hub with the connections of one person; collects the frames in the order in which they arrive at a page."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.hub = Hub()
        self.frames: list[dict[str, Any]] = []

    def connect(
        self, *known: Envelope, have: Mapping[str, Order] | None = None, policy: ConnectionPolicy = POLICY
    ) -> Connection:
        """Connect a page with a ticket for Ada; `known`: what the store has."""
        connection = Connection(opened_at=self.now, policy=policy, limits=LIMITS, frame_numbers=self.hub.frame_numbers)
        connection.outlet = []
        connection.admit(Grant(topics=frozenset({ADA}), expires_at=self.now + 300), have=have, now=self.now)
        self.hub.attach(connection)
        connection.catch_up(known)
        self.hub.wake(connection)
        return connection

    def deliver(self, *envelopes: Envelope) -> None:
        """Deliver envelopes of the broker, in this order."""
        self.hub.receive(envelopes, now=self.now)
        self.write()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the pages send signs of life."""
        self.now += seconds
        for connection in self.hub.connections:
            connection.ack(0, now=self.now)

    def take_frames(self, connection: Connection) -> list[dict[str, Any]]:
        """Take the frames that the connection sends now; they have not arrived yet."""
        self.write()
        frames = [json.loads(frame) for frame in connection.outlet]
        connection.outlet.clear()
        for frame in frames:
            connection.ack(frame["n"], now=self.now)
        if connection.closed:
            frames.append(json.loads(connection.bye()))
        return frames

    def write(self) -> None:
        """Let the hub write what is due."""
        for frame, connections in self.hub.take(self.now):
            for connection in connections if frame else ():
                connection.outlet.append(frame)

    def arrive(self, *connections: Connection) -> None:
        """Let the frames that these connections send arrive, in this order."""
        for connection in connections:
            self.frames += self.take_frames(connection)

    def close(self, connection: Connection, reason: Reason) -> None:
        """Close the connection with a reason."""
        connection.close(reason)
        self.hub.detach(connection)

    def answer_poll(self, *envelopes: Envelope) -> None:
        """Let the answer to a poll with these envelopes arrive."""
        self.frames.append(
            {
                "type": "poll",
                "v": VERSION,
                "now": self.now,
                "expires_at": BEGIN + 300,
                "limits": LIMITS.to_json(),
                "tasks": [json.loads(e.text) for e in envelopes if e.snapshot],
                "notices": [json.loads(e.text) for e in envelopes if e.notice],
                "events": [json.loads(e.text) for e in envelopes if e.event],
                "poll_after_s": 2,
            }
        )


def queued(number: int, label: str = "Import airports") -> Snapshot:
    """Return a task that was just queued."""
    return Snapshot(id=task_id(number), attempt=1, seq=0, state=State.QUEUED, label=label, created_at=BEGIN)


def running(old: Snapshot, seq: int, fraction: float, *, after_s: float) -> Snapshot:
    """Return `old`, running, with this fraction, `after_s` seconds after the scenario began."""
    at = BEGIN + after_s
    total = 28_000.0
    progress = Progress(fraction=fraction, current=fraction * total, total=total, unit="rows", message="Reading")
    started_at = old.started_at or at
    return replace(old, state=State.RUNNING, seq=seq, progress=progress, started_at=started_at, moved_at=at, beat_at=at)


def ended(old: Snapshot, state: State, seq: int, *, after_s: float) -> Snapshot:
    """Return `old`, ended."""
    error = "Row 1,204: latitude 123.4 is not between −90 and 90." if state is State.FAILED else None
    result = "/imports/1/" if state is State.SUCCEEDED else None
    return replace(old, state=state, seq=seq, ended_at=BEGIN + after_s, error=error, result=result)


def next_attempt(old: Snapshot, *, attempt: int) -> Snapshot:
    """Return a new attempt of `old`, queued."""
    return replace(queued(0, old.label), id=old.id, attempt=attempt)


def envelope_of(snapshot: Snapshot) -> Envelope:
    """Return the envelope of a snapshot, as the worker publishes it."""
    return Envelope(topics=(task_topic(snapshot.id), ADA), snapshot=snapshot)


def notice(number: int, text: str, *, task: str | None = None, level: str = "success") -> Envelope:
    """Return a notice for Ada."""
    content = Notice(id=notice_id(number), topic=ADA, level=level, text=text, task=task, created_at=BEGIN)
    return Envelope(topics=(ADA,), notice=content)


def event(name: str, data: object) -> Envelope:
    """Return an event on Ada's topic."""
    return Envelope(topics=(ADA,), event=Event(topic=ADA, name=name, data=data))


def live_to_the_end(scenario: Scenario) -> None:
    """One task from queued to succeeded on one connection; the end and its notice come once."""
    task = queued(1)
    page = scenario.connect(envelope_of(task))
    scenario.arrive(page)
    for seq in range(1, 8):
        scenario.pass_time(0.5)
        scenario.deliver(envelope_of(running(task, seq, seq / 10, after_s=seq / 2)))
        scenario.arrive(page)
    scenario.pass_time(1)
    end = ended(running(task, 8, 1.0, after_s=4.5), State.SUCCEEDED, 8, after_s=4.5)
    scenario.deliver(envelope_of(end), notice(1, "Import airports is done.", task=task.id))
    scenario.arrive(page)
    scenario.pass_time(15)
    scenario.arrive(page)


def the_broker_reorders(scenario: Scenario) -> None:
    """Snapshots reach the hub in any order, several before a frame: the connection sends only the newest."""
    task = queued(1)
    page = scenario.connect(envelope_of(task))
    scenario.arrive(page)
    for first, second in ((2, 1), (5, 3), (4, 6), (6, 6)):
        scenario.pass_time(0.02)
        scenario.deliver(*(envelope_of(running(task, seq, seq / 10, after_s=seq)) for seq in (first, second)))
        scenario.arrive(page)
    scenario.pass_time(1)
    scenario.arrive(page)


def two_connections_overlap(scenario: Scenario) -> None:
    """The client changes to a better transport; frames of the old one come late and twice, and change nothing."""
    task = queued(1)
    old = scenario.connect(envelope_of(task))
    scenario.arrive(old)
    scenario.pass_time(1)
    scenario.deliver(envelope_of(running(task, 1, 0.1, after_s=1)), notice(1, "Your export is ready."))
    late = scenario.take_frames(old)
    scenario.pass_time(1)
    new = scenario.connect(envelope_of(running(task, 2, 0.2, after_s=2)), notice(1, "Your export is ready."))
    scenario.arrive(new)
    scenario.frames += late
    scenario.pass_time(1)
    scenario.deliver(envelope_of(running(task, 3, 0.3, after_s=3)))
    scenario.arrive(new, old)
    scenario.close(old, reasons.DRAIN)
    scenario.arrive(old)


def an_end_outranks_later_progress(scenario: Scenario) -> None:
    """A reader finds the lease expired and writes `lost`; progress that was not saved arrives after it."""
    task = queued(1)
    page = scenario.connect(envelope_of(running(task, 3, 0.3, after_s=3)))
    scenario.arrive(page)
    for seq in (4, 5, 6):
        scenario.pass_time(1)
        scenario.deliver(envelope_of(running(task, seq, seq / 10, after_s=seq)))
        scenario.arrive(page)
    scenario.pass_time(110)
    lost = ended(running(task, 4, 0.4, after_s=4), State.LOST, 5, after_s=116)
    other = scenario.connect(envelope_of(lost), have={task.id: (1, False, 6)})
    scenario.arrive(other)
    scenario.deliver(envelope_of(running(task, 7, 0.7, after_s=7)))
    scenario.arrive(page, other)


def a_retry_starts_over_and_is_newer(scenario: Scenario) -> None:
    """Attempt 1 is lost and retried; a late message of attempt 1 changes nothing; attempt 2 ends."""
    first = running(queued(1), 40, 0.9, after_s=9)
    page = scenario.connect(envelope_of(first))
    scenario.arrive(page)
    scenario.pass_time(110)
    scenario.deliver(
        envelope_of(ended(first, State.LOST, 41, after_s=110)), notice(1, "Lost contact.", task=first.id, level="error")
    )
    scenario.arrive(page)
    second = next_attempt(first, attempt=2)
    for news in (second, running(second, 1, 0.05, after_s=121), running(first, 99, 0.99, after_s=122)):
        scenario.pass_time(5)
        scenario.deliver(envelope_of(news))
        scenario.arrive(page)
    # Another process has received only the late snapshot: its connection may send it, the view must ignore it.
    behind = scenario.connect(envelope_of(running(first, 99, 0.99, after_s=122)))
    scenario.arrive(behind)
    scenario.pass_time(5)
    end = ended(running(second, 2, 1.0, after_s=130), State.SUCCEEDED, 2, after_s=130)
    scenario.deliver(envelope_of(end), notice(2, "Import airports is done.", task=first.id))
    scenario.arrive(page, behind)


def a_reconnect_brings_only_what_is_newer(scenario: Scenario) -> None:
    """The server drains; the page reconnects, names what it has, and gets what it missed, with an end."""
    one, two, three = queued(1), queued(2, "Send letters"), queued(3, "Thumbnails")
    page = scenario.connect(
        envelope_of(running(one, 4, 0.4, after_s=2)), envelope_of(running(two, 1, 0.1, after_s=2)), envelope_of(three)
    )
    scenario.arrive(page)
    scenario.close(page, reasons.DRAIN)
    scenario.arrive(page)
    scenario.pass_time(3)
    have: dict[str, Order] = {one.id: (1, False, 4), two.id: (1, False, 1), three.id: (1, False, 0)}
    back = scenario.connect(
        envelope_of(ended(running(one, 9, 0.9, after_s=4), State.FAILED, 10, after_s=5)),
        envelope_of(running(two, 1, 0.1, after_s=2)),
        envelope_of(running(three, 2, 0.5, after_s=5)),
        notice(1, "Import airports failed.", task=one.id, level="error"),
        have=have,
    )
    scenario.arrive(back)


def polled_while_streaming(scenario: Scenario) -> None:
    """The answer to a poll comes late, after a stream: older and equal snapshots in it change nothing."""
    task = queued(1)
    first, second = running(task, 1, 0.1, after_s=1), running(task, 2, 0.2, after_s=2)
    scenario.answer_poll(envelope_of(task))
    page = scenario.connect(envelope_of(second))
    scenario.arrive(page)
    scenario.answer_poll(envelope_of(first), notice(1, "Your export is ready."))
    scenario.answer_poll(envelope_of(second), notice(1, "Your export is ready."), event("build.finished", {"ok": True}))
    scenario.pass_time(1)
    scenario.deliver(envelope_of(ended(second, State.CANCELLED, 3, after_s=3)))
    scenario.arrive(page)
    scenario.answer_poll(envelope_of(second))


def events_come_in_their_order(scenario: Scenario) -> None:
    """Events are no state: all that arrive are passed on, equal ones too, in the order in which they were sent."""
    page = scenario.connect()
    scenario.arrive(page)
    for number in range(3):
        scenario.pass_time(0.03)
        scenario.deliver(event("line", {"number": number}), event("line", {"number": number}))
        scenario.arrive(page)
    scenario.pass_time(1)
    scenario.deliver(event("done", None))
    scenario.arrive(page)


def a_slow_page_is_closed_with_a_reason(scenario: Scenario) -> None:
    """A page that acknowledges nothing is closed with a reason, and shows the newest after it reconnects."""
    task = queued(1)
    page = scenario.connect(envelope_of(task), policy=ConnectionPolicy(credit=700))
    scenario.arrive(page)
    for seq in range(1, 5):
        scenario.deliver(envelope_of(running(task, seq, seq / 10, after_s=seq)))
        scenario.pass_time(1)
    scenario.frames += [json.loads(frame) for frame in page.outlet]
    page.outlet.clear()
    scenario.pass_time(10)
    page.close_if_overdue(scenario.now)
    scenario.arrive(page)
    scenario.arrive(scenario.connect(envelope_of(running(task, 4, 0.4, after_s=4)), have={task.id: (1, False, 1)}))


def frames_shuffled(scenario: Scenario, seed: int) -> None:
    """Frames in any order, some twice: no single transport does this, and several together may."""
    rng = random.Random(seed)
    live_to_the_end(scenario)
    a_retry_starts_over_and_is_newer(scenario)
    the_broker_reorders(scenario)
    scenario.frames += rng.sample(scenario.frames, len(scenario.frames) // 3)
    rng.shuffle(scenario.frames)


SCENARIOS: dict[str, Callable[[Scenario], None]] = {
    scenario.__name__.replace("_", "-"): scenario
    for scenario in (
        live_to_the_end,
        the_broker_reorders,
        two_connections_overlap,
        an_end_outranks_later_progress,
        a_retry_starts_over_and_is_newer,
        a_reconnect_brings_only_what_is_newer,
        polled_while_streaming,
        events_come_in_their_order,
        a_slow_page_is_closed_with_a_reason,
    )
} | {f"frames-shuffled-{seed}": lambda scenario, seed=seed: frames_shuffled(scenario, seed) for seed in (1, 2, 3)}


def traces() -> Iterator[dict[str, Any]]:
    """Yield all traces.

    `ignored` lists, for each frame, the parts that change nothing: [["task", id], …].
    """
    for name, run in SCENARIOS.items():
        scenario, view = Scenario(), View()
        run(scenario)
        ignored = [[list(thing) for thing in view.receive(frame)] for frame in scenario.frames]
        yield {
            "name": name,
            "about": (run.__doc__ or frames_shuffled.__doc__ or "").strip(),
            "frames": scenario.frames,
            "ignored": ignored,
            "expected": view.to_json(),
        }


def text_of(trace: Mapping[str, Any]) -> str:
    """Return the text of a trace's file: one frame per line, so that a change is readable."""
    lines = {key: [json.dumps(item, ensure_ascii=False) for item in trace[key]] for key in ("frames", "ignored")}
    parts = [f'"{key}": {json.dumps(trace[key], ensure_ascii=False)}' for key in ("name", "about", "expected")]
    parts += [f'"{key}": [\n    ' + ",\n    ".join(items) + "\n  ]" for key, items in lines.items()]
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def write() -> list[Path]:
    """Write the files of all traces; delete the files of removed scenarios."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        if _is_trace(stale) and stale.stem not in SCENARIOS:
            stale.unlink()
    written = []
    for trace in traces():
        path = FOLDER / f"{trace['name']}.json"
        path.write_text(text_of(trace), encoding="utf-8")
        written.append(path)
    return written


def _is_trace(path: Path) -> bool:
    """Whether the file is a trace: the folder has other shared cases too."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(content, dict) and "frames" in content
