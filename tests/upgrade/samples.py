"""One sample of everything that one version sends to another, made by the code of this version."""

import json
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from telltale.core import protocol, reasons
from telltale.core.policy import Bearer, Grant
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State
from telltale.core.topics import CANCELLATIONS
from telltale.core.wire import Envelope, Event, Notice
from telltale.dispatch.task_header import TaskHeader
from telltale.live import tickets
from telltale.models import StoredNotice, TaskFollower, TaskState, UsualDuration
from telltale.owners import Owner
from telltale.worker.spool import SpooledEnd
from tests.simulation.traces import BEGIN, LIMITS

TASK: Final = "4b8e7a1e-0000-4000-8000-000000000001"
NOTICE: Final = "91c00000-0000-4000-8000-000000000001"
OWNER: Final = Owner(session="ada")
TOPIC: Final = "session:ada"
FAR_AWAY: Final = 4_000_000_000.0
"""When the ticket expires: after every test."""

RUNNING: Final = Snapshot(
    id=TASK,
    attempt=2,
    seq=12,
    state=State.RUNNING,
    name="shop.tasks.import_contacts",
    label="Import contacts",
    progress=Progress(
        fraction=0.42,
        current=12_400,
        total=28_000,
        unit="rows",
        message="Importing",
        stage="Reading",
        step=1,
        steps=2,
        borders=(0.5,),
    ),
    created_at=BEGIN,
    started_at=BEGIN + 1,
    moved_at=BEGIN + 9,
    beat_at=BEGIN + 9,
    remaining_s=20.0,
    remaining_spread=0.2,
    usual_s=(31.0, 48.0),
)
SNAPSHOTS: Final = (
    replace(RUNNING, state=State.QUEUED, seq=0, ahead=3, is_listening=True, missing_since=BEGIN, due_at=BEGIN + 5),
    RUNNING,
    replace(RUNNING, cancel_requested=True, no_cancel="It is being saved."),
    replace(RUNNING, state=State.RETRYING, seq=13, due_at=BEGIN + 60, error="The server was busy."),
    replace(RUNNING, state=State.SUCCEEDED, seq=14, ended_at=BEGIN + 31, result="/imports/3/", has_return_value=True),
    replace(RUNNING, state=State.FAILED, seq=14, ended_at=BEGIN + 31, error="Row 7 has no name.", reference="K7Q2"),
    replace(RUNNING, state=State.CANCELLED, seq=14, ended_at=BEGIN + 31, cancel_requested=True),
    replace(RUNNING, state=State.LOST, seq=14, ended_at=BEGIN + 131),
)
A_NOTICE: Final = Notice(
    id=NOTICE,
    topic=TOPIC,
    level="success",
    text="Import contacts: done",
    url="/imports/3/",
    task=TASK,
    created_at=BEGIN,
)
AN_EVENT: Final = Event(topic="project:7", name="build.finished", data={"ok": True})


def all_samples() -> dict[str, Any]:
    """Return all samples, as JSON values, by the name of their file."""
    return {
        "frames": frames(),
        "client": client_messages(),
        "envelopes": [envelope.to_bytes().decode() for envelope in envelopes()],
        "rows": rows(),
        "messages": runner_messages(),
        "schema": schema(),
    }


def frames() -> list[dict[str, Any]]:
    """What the server sends to a page."""
    grant = Grant(topics=frozenset({TOPIC}), expires_at=BEGIN + 300)
    tasks = [Envelope(snapshot=snapshot).text for snapshot in SNAPSHOTS]
    notices, events = [Envelope(notice=A_NOTICE).text], [Envelope(event=AN_EVENT).text]
    texts = [
        protocol.hello(1, BEGIN, grant=grant, limits=LIMITS, credit=65_536),
        *(protocol.update(2 + number, BEGIN + 1, tasks=[text]) for number, text in enumerate(tasks)),
        protocol.update(20, BEGIN + 2, notices=notices, events=events),
        protocol.update(21, BEGIN + 3, tasks=tasks[1:2], corrected=[TASK]),
        protocol.ping(BEGIN + 15),
        protocol.ping(BEGIN + 30, n=22),
        protocol.bye(reasons.DRAIN, within_s=5.0),
    ]
    return [json.loads(text) for text in texts]


def client_messages() -> dict[str, Any]:
    """What a page sends to the server, with a ticket of this version."""
    fields = {"follower": TOPIC, "ttl_s": FAR_AWAY - BEGIN, "now": BEGIN}
    ticket = tickets.issue([TOPIC], **fields)
    of_user = tickets.issue(["user:7"], bearer=Bearer(user="7", is_active=True, auth="a1"), session="s1", **fields)
    have = {TASK: [2, False, 12]}
    return {
        "hello": {"type": "hello", "v": protocol.VERSION, "ticket": ticket, "have": have},
        "ticket": {"type": "ticket", "ticket": ticket},
        "ack": {"type": "ack", "n": 2},
        "stream": {"have": have},
        "poll": {"have": have, "seen": [NOTICE], "wait_s": 0},
        "take": {"holder": "page-1"},
        "confirm": {"holder": "page-1", "shown": True},
        "ticket of a user": of_user,
    }


def envelopes() -> list[Envelope]:
    """What processes send over the broker."""
    topics = (f"task:{TASK}", TOPIC)
    return [
        *(Envelope(topics=topics, snapshot=snapshot) for snapshot in SNAPSHOTS),
        Envelope(topics=(TOPIC,), notice=A_NOTICE),
        Envelope(topics=("project:7",), event=AN_EVENT),
        Envelope(topics=(CANCELLATIONS,), cancel=TASK),
    ]


def rows() -> dict[str, list[dict[str, Any]]]:
    """Rows as this version writes them, by table: each column with a value that the database takes as it is."""
    states = [snapshot.state for snapshot in SNAPSHOTS]
    tasks = [
        TaskState(
            id=UUID(int=UUID(TASK).int + 100 + number),
            runner="celery",
            runner_id=f"c-{number}",
            name=RUNNING.name,
            label=RUNNING.label,
            call={"args": [3], "kwargs": {"dry": True}},
            session="ada",
            state=state.value,
            attempt=2,
            seq=12,
            progress=RUNNING.progress.to_json(),
            usual_s=[31.0, 48.0],
            worker="w1:77" if state is State.RUNNING else "",
            lease_until=FAR_AWAY if state is State.RUNNING else None,
            created_at=BEGIN,
            started_at=BEGIN + 1,
            moved_at=BEGIN + 9,
            beat_at=BEGIN + 9,
            ended_at=BEGIN + 31 if state.ended else None,
        )
        for number, state in enumerate(states)
    ]
    notice = StoredNotice(id=UUID(NOTICE), topic=TOPIC, level="success", text=A_NOTICE.text, url="/imports/3/")
    notice.task_id, notice.attempt, notice.created_at = tasks[4].pk, 2, BEGIN
    follower = TaskFollower(id=1, task_id=tasks[1].pk, topic="session:bob")
    usual = UsualDuration(name=RUNNING.name, durations_s=[30.0, 31.0, 48.0])
    tables: dict[str, list[dict[str, Any]]] = {}
    for row in (*tasks, notice, follower, usual):
        tables.setdefault(row._meta.db_table, []).append(columns_of(row))
    return tables


def columns_of(row: Any) -> dict[str, Any]:
    """Each column's value; JSON and ids as text."""
    values = {field.column: getattr(row, field.attname) for field in row._meta.concrete_fields}
    return {name: str(value) if isinstance(value, UUID) else value for name, value in values.items()}


def runner_messages() -> dict[str, Any]:
    """What travels through a runner's queue, and what a process leaves for the next one."""
    header = TaskHeader(task_id=UUID(TASK), owner=OWNER, needs_row=True, group=UUID(NOTICE))
    spooled = SpooledEnd(
        task_id=TASK,
        runner="celery",
        runner_id="c-1",
        attempt=2,
        state="failed",
        fields={"seq": 15, "progress": RUNNING.progress.to_json(), "error": "Row 7 has no name.", "detail": "…"},
    )
    return {"header": header.to_json(), "spooled end": json.loads(spooled.to_json())}


def schema() -> dict[str, list[str]]:
    """The columns of each table."""
    models = (TaskState, TaskFollower, UsualDuration, StoredNotice)
    return {it._meta.db_table: sorted(str(field.column) for field in it._meta.concrete_fields) for it in models}
