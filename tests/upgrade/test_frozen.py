"""F38: this version understands what an earlier version wrote and sent, and an earlier one what this version sends."""

import json
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from telltale import store
from telltale.channels.follow.inbox import frame_of
from telltale.core.foreign import check_foreign
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.core.wire import Envelope, Kind, Malformed
from telltale.dispatch.task_header import TaskHeader
from telltale.live import tickets
from telltale.models import StoredNotice, TaskState
from telltale.worker.spool import SpooledEnd
from tests.simulation.view import View
from tests.upgrade import samples
from tests.upgrade.frozen import HELP, VERSIONS, differences, frozen

every_version = pytest.mark.parametrize("version", VERSIONS)


@every_version
def test_f38_frames_of_an_earlier_server_are_merged(version: str) -> None:
    view = View()
    for frame in frozen(version, "frames"):
        view.receive(frame)
    assert view.tasks[samples.TASK].attempt == 2
    assert list(view.notices) == [samples.NOTICE]
    assert [event["name"] for event in view.events] == ["build.finished"]


@every_version
def test_f38_an_earlier_page_finds_all_that_it_reads_in_the_frames_of_this_server(version: str) -> None:
    old, new = frozen(version, "frames"), samples.frames()
    assert differences(old, new) == [], HELP
    assert len(new) >= len(old)


@every_version
def test_f38_envelopes_of_an_earlier_process_are_read(version: str) -> None:
    for text in frozen(version, "envelopes"):
        envelope = Envelope.from_bytes(text.encode())
        check_foreign(envelope)
        assert any((envelope.snapshot, envelope.notice, envelope.event, envelope.cancel))


@every_version
def test_f38_an_earlier_process_can_read_the_envelopes_of_this_one(version: str) -> None:
    old, new = ([text.split("\n", 1) for text in texts] for texts in (frozen(version, "envelopes"), envelopes_now()))
    assert [head for head, _text in old] == [head for head, _text in new], HELP
    for (_head, old_text), (_new_head, new_text) in zip(old, new, strict=True):
        assert differences(json.loads(old_text), json.loads(new_text)) == [], HELP


def envelopes_now() -> list[str]:
    return [envelope.to_bytes().decode() for envelope in samples.envelopes()]


@every_version
@pytest.mark.django_db
def test_f38_tickets_of_an_earlier_process_are_valid_until_they_expire(version: str) -> None:
    client = frozen(version, "client")
    assert tickets.verify(client["hello"]["ticket"]).topics == {samples.TOPIC}
    of_user = tickets.verify(client["ticket of a user"])
    assert (of_user.bearer and of_user.bearer.user, of_user.session) == ("7", "s1")


@every_version
def test_f38_messages_in_a_runners_queue_and_spooled_ends_are_read(version: str) -> None:
    messages = frozen(version, "messages")
    header = TaskHeader.from_json(messages["header"])
    assert header is not None
    assert (header.task_id, header.owner, header.group) == (UUID(samples.TASK), samples.OWNER, UUID(samples.NOTICE))
    end = SpooledEnd.from_json(json.dumps(messages["spooled end"]))
    assert (end.state, end.attempt, end.fields["error"]) == ("failed", 2, "Row 7 has no name.")
    assert differences(messages, samples.runner_messages()) == [], HELP


@every_version
@pytest.mark.django_db
def test_f38_rows_that_an_earlier_process_inserts_are_accepted_and_read(version: str) -> None:
    """It names only the columns that it knows, so each new column is nullable or has a default in the database."""
    rows = frozen(version, "rows")
    for table in (TaskState._meta.db_table, *(name for name in rows if name != TaskState._meta.db_table)):
        for row in rows[table]:
            insert(table, row)
    found = {row.pk: row for row in TaskState.objects.all()}
    assert [row["state"] for row in rows[TaskState._meta.db_table]] == [state.value for state in list_states(found)]
    assert len(StoredNotice.objects.all()) == 1
    read = store.read_topics([samples.TOPIC], now=samples.BEGIN + 40)
    assert len(read) == len(found) + 1
    assert store.request_cancel(next(pk for pk, row in found.items() if row.state == State.QUEUED)) is not None


def insert(table: str, row: dict[str, Any]) -> None:
    columns = {
        name: json.dumps(value) if isinstance(value, dict | list) else as_id(name, value) for name, value in row.items()
    }
    names = ", ".join(connection.ops.quote_name(name) for name in columns)
    with connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(columns))
        cursor.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(columns.values()))


def as_id(name: str, value: Any) -> Any:
    """UUIDs as the database has them."""
    is_id = name in ("id", "task_id", "group_id") and isinstance(value, str)
    return UUID(value).hex if is_id and not connection.features.has_native_uuid_field else value


def list_states(found: dict[UUID, TaskState]) -> list[State]:
    return [found[pk].snapshot.state for pk in sorted(found)]


@every_version
def test_f38_no_column_that_an_earlier_process_writes_is_gone(version: str) -> None:
    now = samples.schema()
    gone = {table: set(columns) - set(now.get(table, ())) for table, columns in frozen(version, "schema").items()}
    assert not any(gone.values()), f"{gone}. {HELP}"


# What a newer version may send


def test_f38_fields_that_only_a_newer_version_knows_are_ignored() -> None:
    for sample in (samples.RUNNING, samples.A_NOTICE, samples.AN_EVENT):
        data = sample.to_json() | {"colour": "green"}
        assert type(sample).from_json(data) == sample
    end = samples.runner_messages()["spooled end"]
    end |= {"colour": "green", "fields": end["fields"] | {"colour": "green"}}
    assert "colour" not in SpooledEnd.from_json(json.dumps(end)).fields
    header = samples.runner_messages()["header"] | {"colour": "green"}
    assert TaskHeader.from_json(header) is not None


def test_f38_a_consumer_gets_items_with_unknown_fields_and_skips_unknown_states() -> None:
    running, notice = samples.RUNNING.to_json() | {"colour": 1}, samples.A_NOTICE.to_json() | {"colour": 1}
    unknown = samples.RUNNING.to_json() | {"state": "paused"}
    event = samples.AN_EVENT.to_json() | {"colour": 1}
    update = {"type": "update", "n": 1, "tasks": [unknown, running], "notices": [notice], "events": [event]}
    frame = frame_of(json.dumps(update))
    assert (frame.snapshots, frame.notices, frame.events) == (
        (samples.RUNNING,),
        (samples.A_NOTICE,),
        (samples.AN_EVENT,),
    )
    assert frame_of('{"type": "weather"}').snapshots == ()


def test_f38_an_envelope_of_an_unknown_kind_format_or_state_is_malformed_and_so_skipped() -> None:
    raw = samples.envelopes()[1].to_bytes()
    assert Envelope.from_bytes(raw).kind is Kind.SNAPSHOT
    for newer in (raw.replace(b"t1 ", b"t2 ", 1), raw.replace(b"snapshot ", b"picture ", 1)):
        with pytest.raises(Malformed):
            Envelope.from_bytes(newer)
    with pytest.raises(Malformed):
        check_foreign(Envelope.from_bytes(raw.replace(b'"running"', b'"paused"')))
    with pytest.raises(ValueError, match="paused"):
        Snapshot.from_json(samples.RUNNING.to_json() | {"state": "paused"})


UNCHECKED = {
    "sqlite": ("PRAGMA ignore_check_constraints = ON", "PRAGMA ignore_check_constraints = OFF"),
    "mysql": ("SET check_constraint_checks = 0", "SET check_constraint_checks = 1"),
    "postgresql": (
        "SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE telltale_taskstate DROP CONSTRAINT telltale_task_known_state",
        "SELECT 1",
    ),
}
"""By database: how its constraint is switched off and on again. A migration of the newer version has changed it."""


@pytest.mark.django_db
def test_f38_a_row_in_an_unknown_state_is_left_out_and_disturbs_no_other_task() -> None:
    known, newer = (store.queue(runner="test", name="work", owner=samples.OWNER).task for _ in range(2))
    with connection.cursor() as cursor:
        off, on = UNCHECKED[connection.vendor]
        cursor.execute(off)
        TaskState.objects.filter(pk=newer.pk).update(state="paused")
        cursor.execute(on)
    assert [it.about for it in store.read_topics([samples.TOPIC])] == [str(known.pk)]
    assert [it.about for it in store.read_tasks([known.pk, newer.pk])] == [str(known.pk)]
    assert store.get_task(newer.pk) is None
