"""Recorded traces: what real connections send, in the order a browser may hear it, and what it must then show.

Each is a story told with the real hub and connections; `python -m tests.simulation --traces` writes them to
`tests/traces/`, where the tests of the JavaScript client replay them.
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
    """The UUID of the story's task `number`."""
    return str(UUID(int=0x7E11_7A1E_0000_4000_8000_0000_0000_0000 + number))


def notice_id(number: int) -> str:
    """The UUID of the story's notice `number`."""
    return str(UUID(int=0x0071_CE00_0000_4000_8000_0000_0000_0000 + number))


class Story:
    """A hub with one person's connections; collects the frames in the order they arrive at her page."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.hub = Hub()
        self.frames: list[dict[str, Any]] = []

    def connects(
        self, *known: Envelope, have: Mapping[str, Order] | None = None, policy: ConnectionPolicy = POLICY
    ) -> Connection:
        """A page connects with a ticket for Ada, and is told what the store knows."""
        connection = Connection(opened_at=self.now, policy=policy, limits=LIMITS, frame_numbers=self.hub.frame_numbers)
        connection.outlet = []
        connection.admit(Grant(topics=frozenset({ADA}), expires_at=self.now + 300), have=have, now=self.now)
        self.hub.attach(connection)
        connection.catch_up(known)
        self.hub.wake(connection)
        return connection

    def happens(self, *envelopes: Envelope) -> None:
        """The broker carries this, in this order."""
        self.hub.receive(envelopes, now=self.now)
        self.turns()

    def passes(self, seconds: float) -> None:
        """Time goes on; the pages are heard of all the while."""
        self.now += seconds
        for connection in self.hub.connections:
            connection.ack(0, now=self.now)

    def sends(self, connection: Connection) -> list[dict[str, Any]]:
        """All that the connection can send now, taken but not arrived."""
        self.turns()
        frames = [json.loads(frame) for frame in connection.outlet]
        connection.outlet.clear()
        for frame in frames:
            connection.ack(frame["n"], now=self.now)
        if connection.closed:
            frames.append(json.loads(connection.bye()))
        return frames

    def turns(self) -> None:
        """The hub writes what is due."""
        for frame, connections in self.hub.take(self.now):
            for connection in connections if frame else ():
                connection.outlet.append(frame)

    def hears(self, *connections: Connection) -> None:
        """What these connections can send arrives, in this order."""
        for connection in connections:
            self.frames += self.sends(connection)

    def closes(self, connection: Connection, reason: Reason) -> None:
        """The server ends the connection, saying why."""
        connection.close(reason)
        self.hub.detach(connection)

    def polls(self, *envelopes: Envelope) -> None:
        """The page asks and is answered: the same things in the envelope of a poll."""
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
    """A task that somebody has just asked for."""
    return Snapshot(id=task_id(number), attempt=1, seq=0, state=State.QUEUED, label=label, created_at=BEGIN)


def moved(old: Snapshot, seq: int, fraction: float, *, after_s: float) -> Snapshot:
    """`old`, running, and this far `after_s` seconds after the story's beginning."""
    at = BEGIN + after_s
    total = 28_000.0
    progress = Progress(fraction=fraction, current=fraction * total, total=total, unit="rows", message="Reading")
    started_at = old.started_at or at
    return replace(old, state=State.RUNNING, seq=seq, progress=progress, started_at=started_at, moved_at=at, beat_at=at)


def over(old: Snapshot, state: State, seq: int, *, after_s: float) -> Snapshot:
    """`old`, ended."""
    error = "Row 1,204: latitude 123.4 is not between −90 and 90." if state is State.FAILED else None
    result = "/imports/1/" if state is State.SUCCEEDED else None
    return replace(old, state=state, seq=seq, ended_at=BEGIN + after_s, error=error, result=result)


def again(old: Snapshot, *, attempt: int) -> Snapshot:
    """A new attempt of `old`, queued."""
    return replace(queued(0, old.label), id=old.id, attempt=attempt)


def of(snapshot: Snapshot) -> Envelope:
    """As the worker publishes it."""
    return Envelope(topics=(task_topic(snapshot.id), ADA), snapshot=snapshot)


def told(number: int, text: str, *, task: str | None = None, level: str = "success") -> Envelope:
    """A notice for Ada."""
    notice = Notice(id=notice_id(number), topic=ADA, level=level, text=text, task=task, created_at=BEGIN)
    return Envelope(topics=(ADA,), notice=notice)


def said(name: str, data: object) -> Envelope:
    """An event on Ada's topic."""
    return Envelope(topics=(ADA,), event=Event(topic=ADA, name=name, data=data))


def live_to_the_end(story: Story) -> None:
    """One task from queued to succeeded on one connection; the end and its notice come once."""
    task = queued(1)
    page = story.connects(of(task))
    story.hears(page)
    for seq in range(1, 8):
        story.passes(0.5)
        story.happens(of(moved(task, seq, seq / 10, after_s=seq / 2)))
        story.hears(page)
    story.passes(1)
    end = over(moved(task, 8, 1.0, after_s=4.5), State.SUCCEEDED, 8, after_s=4.5)
    story.happens(of(end), told(1, "Import airports is done.", task=task.id))
    story.hears(page)
    story.passes(15)
    story.hears(page)


def the_broker_reorders(story: Story) -> None:
    """Progress reaches the hub in any order, several before a frame: the connection sends the newest only."""
    task = queued(1)
    page = story.connects(of(task))
    story.hears(page)
    for first, second in ((2, 1), (5, 3), (4, 6), (6, 6)):
        story.passes(0.02)
        story.happens(*(of(moved(task, seq, seq / 10, after_s=seq)) for seq in (first, second)))
        story.hears(page)
    story.passes(1)
    story.hears(page)


def two_connections_overlap(story: Story) -> None:
    """The client climbs to a better transport; the old one still delivers, late and twice, and is outdone."""
    task = queued(1)
    old = story.connects(of(task))
    story.hears(old)
    story.passes(1)
    story.happens(of(moved(task, 1, 0.1, after_s=1)), told(1, "Your export is ready."))
    late = story.sends(old)
    story.passes(1)
    new = story.connects(of(moved(task, 2, 0.2, after_s=2)), told(1, "Your export is ready."))
    story.hears(new)
    story.frames += late
    story.passes(1)
    story.happens(of(moved(task, 3, 0.3, after_s=3)))
    story.hears(new, old)
    story.closes(old, reasons.DRAIN)
    story.hears(old)


def an_end_outranks_later_progress(story: Story) -> None:
    """A reader found the lease lapsed and wrote `lost` over what was saved; unsaved progress comes after it."""
    task = queued(1)
    page = story.connects(of(moved(task, 3, 0.3, after_s=3)))
    story.hears(page)
    for seq in (4, 5, 6):
        story.passes(1)
        story.happens(of(moved(task, seq, seq / 10, after_s=seq)))
        story.hears(page)
    story.passes(110)
    lost = over(moved(task, 4, 0.4, after_s=4), State.LOST, 5, after_s=116)
    other = story.connects(of(lost), have={task.id: (1, False, 6)})
    story.hears(other)
    story.happens(of(moved(task, 7, 0.7, after_s=7)))
    story.hears(page, other)


def a_retry_starts_over_and_is_newer(story: Story) -> None:
    """Attempt 1 is lost; a person asks again; a late message of attempt 1 changes nothing; attempt 2 ends."""
    first = moved(queued(1), 40, 0.9, after_s=9)
    page = story.connects(of(first))
    story.hears(page)
    story.passes(110)
    story.happens(of(over(first, State.LOST, 41, after_s=110)), told(1, "Lost contact.", task=first.id, level="error"))
    story.hears(page)
    second = again(first, attempt=2)
    for news in (second, moved(second, 1, 0.05, after_s=121), moved(first, 99, 0.99, after_s=122)):
        story.passes(5)
        story.happens(of(news))
        story.hears(page)
    # A second page of another process has heard only the late one: it may send it, the view must not take it.
    deaf = story.connects(of(moved(first, 99, 0.99, after_s=122)))
    story.hears(deaf)
    story.passes(5)
    end = over(moved(second, 2, 1.0, after_s=130), State.SUCCEEDED, 2, after_s=130)
    story.happens(of(end), told(2, "Import airports is done.", task=first.id))
    story.hears(page, deaf)


def a_reconnect_brings_only_what_is_newer(story: Story) -> None:
    """The server drains; the page comes back with what it has, and hears what it missed, an end among it."""
    one, two, three = queued(1), queued(2, "Send letters"), queued(3, "Thumbnails")
    page = story.connects(of(moved(one, 4, 0.4, after_s=2)), of(moved(two, 1, 0.1, after_s=2)), of(three))
    story.hears(page)
    story.closes(page, reasons.DRAIN)
    story.hears(page)
    story.passes(3)
    have: dict[str, Order] = {one.id: (1, False, 4), two.id: (1, False, 1), three.id: (1, False, 0)}
    back = story.connects(
        of(over(moved(one, 9, 0.9, after_s=4), State.FAILED, 10, after_s=5)),
        of(moved(two, 1, 0.1, after_s=2)),
        of(moved(three, 2, 0.5, after_s=5)),
        told(1, "Import airports did not work.", task=one.id, level="error"),
        have=have,
    )
    story.hears(back)


def polled_while_streaming(story: Story) -> None:
    """A poll answered late, after a stream was heard: older and equal things in it change nothing."""
    task = queued(1)
    first, second = moved(task, 1, 0.1, after_s=1), moved(task, 2, 0.2, after_s=2)
    story.polls(of(task))
    page = story.connects(of(second))
    story.hears(page)
    story.polls(of(first), told(1, "Your export is ready."))
    story.polls(of(second), told(1, "Your export is ready."), said("build.finished", {"ok": True}))
    story.passes(1)
    story.happens(of(over(second, State.CANCELLED, 3, after_s=3)))
    story.hears(page)
    story.polls(of(second))


def events_come_in_their_order(story: Story) -> None:
    """Events are no state: each that arrives is handed on, equal ones too, in the order they were sent."""
    page = story.connects()
    story.hears(page)
    for number in range(3):
        story.passes(0.03)
        story.happens(said("line", {"number": number}), said("line", {"number": number}))
        story.hears(page)
    story.passes(1)
    story.happens(said("done", None))
    story.hears(page)


def a_slow_page_is_told_why(story: Story) -> None:
    """A page that acknowledges nothing is closed with a reason, and shows the newest after coming back."""
    task = queued(1)
    page = story.connects(of(task), policy=ConnectionPolicy(credit=700))
    story.hears(page)
    for seq in range(1, 5):
        story.happens(of(moved(task, seq, seq / 10, after_s=seq)))
        story.passes(1)
    story.frames += [json.loads(frame) for frame in page.outlet]
    page.outlet.clear()
    story.passes(10)
    page.close_if_overdue(story.now)
    story.hears(page)
    story.hears(story.connects(of(moved(task, 4, 0.4, after_s=4)), have={task.id: (1, False, 1)}))


def frames_shuffled(story: Story, seed: int) -> None:
    """No transport does this to one connection, but many together do: any order, some frames twice."""
    rng = random.Random(seed)
    live_to_the_end(story)
    a_retry_starts_over_and_is_newer(story)
    the_broker_reorders(story)
    story.frames += rng.sample(story.frames, len(story.frames) // 3)
    rng.shuffle(story.frames)


STORIES: dict[str, Callable[[Story], None]] = {
    story.__name__.replace("_", "-"): story
    for story in (
        live_to_the_end,
        the_broker_reorders,
        two_connections_overlap,
        an_end_outranks_later_progress,
        a_retry_starts_over_and_is_newer,
        a_reconnect_brings_only_what_is_newer,
        polled_while_streaming,
        events_come_in_their_order,
        a_slow_page_is_told_why,
    )
} | {f"frames-shuffled-{seed}": lambda story, seed=seed: frames_shuffled(story, seed) for seed in (1, 2, 3)}


def traces() -> Iterator[dict[str, Any]]:
    """All stories as they are recorded.

    `ignored` has, for each frame, what of it changes nothing: [["task", id], …].
    """
    for name, tell in STORIES.items():
        story, view = Story(), View()
        tell(story)
        ignored = [[list(thing) for thing in view.receive(frame)] for frame in story.frames]
        yield {
            "name": name,
            "about": (tell.__doc__ or frames_shuffled.__doc__ or "").strip(),
            "frames": story.frames,
            "ignored": ignored,
            "expected": view.to_json(),
        }


def text_of(trace: Mapping[str, Any]) -> str:
    """A trace as its file has it: one frame a line, so that a change can be read."""
    lines = {key: [json.dumps(item, ensure_ascii=False) for item in trace[key]] for key in ("frames", "ignored")}
    parts = [f'"{key}": {json.dumps(trace[key], ensure_ascii=False)}' for key in ("name", "about", "expected")]
    parts += [f'"{key}": [\n    ' + ",\n    ".join(items) + "\n  ]" for key, items in lines.items()]
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def write() -> list[Path]:
    """Write every trace's file anew; a story that is told no more loses its file."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        if _is_trace(stale) and stale.stem not in STORIES:
            stale.unlink()
    written = []
    for trace in traces():
        path = FOLDER / f"{trace['name']}.json"
        path.write_text(text_of(trace), encoding="utf-8")
        written.append(path)
    return written


def _is_trace(path: Path) -> bool:
    """Whether it is ours: the folder has other shared cases too."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(content, dict) and "frames" in content
