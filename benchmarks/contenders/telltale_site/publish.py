"""Publishes one message as a site does.

python -m benchmarks.contenders.telltale_site.publish event|task|pusher TASK
"""

import sys
import time

import django

django.setup()

from benchmarks.rig import message  # noqa: E402  (models need the set-up)
from telltale.brokers import broker  # noqa: E402
from telltale.brokers.base import Message  # noqa: E402
from telltale.core.snapshot import Progress, Snapshot  # noqa: E402
from telltale.core.states import State  # noqa: E402
from telltale.core.topics import task_topic  # noqa: E402
from telltale.core.wire import Envelope, Event  # noqa: E402
from telltale.messages import send_to_broker  # noqa: E402
from telltale.pusher.protocol.messages import channel_event, encode  # noqa: E402
from telltale.pusher.server.link.site_link import channel_topic  # noqa: E402
from telltale.pusher.server.link.site_messages import Kind, SiteEvent, Writer  # noqa: E402


def event(_task: str) -> Envelope:
    """The message that all contenders deliver, in a topic of the site's own."""
    topic = f"project:{message.TOPIC}"
    return Envelope(topics=(topic,), event=Event(topic=topic, name="update", data=message.payload()))


def task(task: str) -> Envelope:
    """A running task whose message is the token."""
    now = time.time()
    snapshot = Snapshot(
        id=task,
        attempt=1,
        seq=message.FIRST_SEQ,
        state=State.RUNNING,
        name="site.tasks.import_contacts",
        label="Import contacts",
        progress=Progress(fraction=0.5, current=14_000, total=28_000, unit="rows", message=message.TOKEN),
        created_at=now,
        started_at=now,
        moved_at=now,
        beat_at=now,
    )
    return Envelope(topics=(task_topic(task),), snapshot=snapshot)


def publish_to_channel() -> bool:
    """The message as one process of the stand-in for Pusher sends it to the others."""
    text = channel_event("update", message.TOPIC, encode(message.payload()))
    writer = Writer("bench")
    # Messages have numbers, and a repeated one is skipped: the load generator counts upwards from this one.
    writer._number = message.FIRST_SEQ - 1
    [body] = writer.bodies(Kind.EVENT, SiteEvent(app_id="1", channel=message.TOPIC, text=text).to_text())
    broker().publish([Message((channel_topic("1", message.TOPIC),), body)])
    return True


if __name__ == "__main__":
    kind, task_id = sys.argv[1:]
    if kind == "pusher":
        is_sent = publish_to_channel()
    else:
        is_sent = send_to_broker([{"event": event, "task": task}[kind](task_id)])
    # A broker may send from its own thread: give it time.
    time.sleep(0.5)
    sys.exit(not is_sent)
