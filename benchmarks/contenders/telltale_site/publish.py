"""Publishes one message as a site does.

python -m benchmarks.contenders.telltale_site.publish event|task TASK
"""

import sys
import time

import django

django.setup()

from benchmarks.rig import message  # noqa: E402  (models need the set-up)
from telltale.core.snapshot import Progress, Snapshot  # noqa: E402
from telltale.core.states import State  # noqa: E402
from telltale.core.topics import task_topic  # noqa: E402
from telltale.core.wire import Envelope, Event  # noqa: E402
from telltale.messages import send_to_broker  # noqa: E402


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


if __name__ == "__main__":
    is_sent = send_to_broker([{"event": event, "task": task}[sys.argv[1]](sys.argv[2])])
    # A broker may send from its own thread: give it time.
    time.sleep(0.5)
    sys.exit(not is_sent)
