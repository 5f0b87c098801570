"""Envelopes and messages as Telltale publishes them."""

from telltale.brokers.base import Message
from telltale.core.snapshot import MESSAGE_BYTES, REASON_BYTES, SHORT_BYTES, TEXT_BYTES, Progress, Snapshot, bounded
from telltale.core.states import State
from telltale.core.topics import task_topic
from telltale.core.wire import Envelope, Event, Notice


def snapshot_of(
    task: str = "t1",
    seq: int = 1,
    *,
    state: State = State.RUNNING,
    attempt: int = 1,
    topics: tuple[str, ...] = (),
    message: str = "",
) -> Envelope:
    """A snapshot for the followers of `topics`, or of the task alone."""
    progress = Progress(fraction=0.5, message=message)
    snapshot = Snapshot(id=task, attempt=attempt, seq=seq, state=state, progress=progress)
    return Envelope(topics=topics or (task_topic(task),), snapshot=snapshot)


def notice_of(number: int = 1, *, topic: str = "user:7") -> Envelope:
    """A notice for one person."""
    return Envelope(topics=(topic,), notice=Notice(id=f"n{number}", topic=topic, level="info", text="Done."))


def event_of(name: str, data: object = None, *, topic: str = "project:7") -> Envelope:
    """A site's own event."""
    return Envelope(topics=(topic,), event=Event(topic=topic, name=name, data=data))


def largest_snapshot(character: str) -> Envelope:
    """A snapshot whose texts all have their greatest length."""
    long, short = bounded(character * TEXT_BYTES), bounded(character * SHORT_BYTES, SHORT_BYTES)
    snapshot = Snapshot(
        id="4b8e6f1c-0000-4000-8000-000000000001",
        attempt=2**31,
        seq=2**31,
        state=State.SUCCEEDED,
        name=short,
        label=short,
        progress=Progress(
            fraction=0.1 + 0.2,
            current=1e300,
            total=1e300,
            unit=short,
            message=bounded(character * MESSAGE_BYTES, MESSAGE_BYTES),
            stage=short,
            step=2**31,
            steps=2**31,
        ),
        error=long,
        reference=short,
        result=long,
        created_at=1_790_000_000.123456,
        started_at=1_790_000_000.123456,
        moved_at=1_790_000_000.123456,
        beat_at=1_790_000_000.123456,
        ended_at=1_790_000_000.123456,
        due_at=1_790_000_000.123456,
        ahead=2**31,
        is_listening=False,
        missing_since=1_790_000_000.123456,
        remaining_s=1e300,
        usual_s=(1e300, 1e300),
        no_cancel=bounded(character * REASON_BYTES, REASON_BYTES),
    )
    return Envelope(topics=(task_topic(snapshot.id),), snapshot=snapshot)


def message_of(envelope: Envelope) -> Message:
    """The envelope as a broker gets it."""
    return Message(envelope.topics, envelope.to_bytes())
