"""`pusher://` against a server that records, fails, hangs and refuses."""

import base64
import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import nacl.secret
import pytest

from telltale.core.states import State
from telltale.core.topics import CANCELLATIONS, RIGHTS
from telltale.core.wire import Envelope, Event
from telltale.pusher.publisher.events import UPDATE
from telltale.pusher.publisher.master_key import read_master_key, shared_secret
from telltale.testing.brokers import assert_eventually, make_messages
from tests.brokers.factory import MakeBroker
from tests.pusher.publisher.envelopes import event_of, message_of, notice_of, snapshot_of
from tests.pusher.publisher.recorder import KEY, SECRET, Recorder, recording

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()


def shown_tasks(recorder: Recorder) -> dict[tuple[str, str], int]:
    """By channel and task: the number of the newest snapshot that was accepted."""
    return {
        (event["channel"], task["id"]): task["seq"]
        for event in recorder.events
        if event["name"] == UPDATE
        for task in json.loads(event["data"])["tasks"]
    }


def test_snapshots_notices_and_events_arrive_signed_on_the_channels_of_their_topics(
    make_broker: MakeBroker, recorder: Recorder
) -> None:
    """P16, P50, P54, P60."""
    broker = make_broker()
    broker.publish([message_of(snapshot_of("t1", topics=("task:t1", "user:7"), state=State.SUCCEEDED))])
    broker.publish([message_of(notice_of(topic="user:7")), message_of(event_of("build.finished", {"ok": True}))])
    broker.close()
    assert recorder.errors == []
    received = sorted((event["channel"], event["name"]) for event in recorder.events)
    assert set(received) == {
        ("private-project-7", "build.finished"),
        ("private-task-t1", UPDATE),
        ("private-user-7", UPDATE),
    }
    assert recorder.named("build.finished") == [{"ok": True}]
    assert [notice["id"] for update in recorder.named(UPDATE) for notice in update["notices"]] == ["n1"]


def test_the_broker_gives_pages_the_channel_of_each_topic(make_broker: MakeBroker, settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_CHANNELS": {"news": "public"}}
    broker = make_broker()
    channels = {"private-user-7": "user:7", "news-today": "news:today", "private-task-t1": "task:t1"}
    assert broker.channels(["user:7", "news:today", "task:t1"]) == channels
    # A page that followed the others alone would miss the events of this one.
    assert broker.channels(["user:7", f"user:{'x' * 200}"]) is None


def test_what_is_for_processes_alone_is_not_sent(make_broker: MakeBroker, recorder: Recorder) -> None:
    broker = make_broker()
    cancellation = Envelope(topics=(CANCELLATIONS,), cancel="t1")
    sign_out = Envelope(topics=(RIGHTS,), event=Event(topic=RIGHTS, name="ended", data={"sessions": ["a"]}))
    broker.publish(
        [message_of(cancellation), message_of(sign_out), *make_messages(b"P of the stand-in server", b"other")]
    )
    broker.publish([message_of(event_of("last"))])
    broker.close()
    assert [event["name"] for event in recorder.events] == ["last"]


def test_a_task_without_owner_is_not_sent_where_only_owners_may_follow(
    make_broker: MakeBroker, recorder: Recorder, settings: Any
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "CAN_FOLLOW": None}
    broker, ended = make_broker(), State.SUCCEEDED
    broker.publish([message_of(snapshot_of("t1", state=ended))])
    broker.publish([message_of(snapshot_of("t2", state=ended, topics=("task:t2", "user:7")))])
    broker.close()
    assert set(shown_tasks(recorder)) == {("private-task-t2", "t2"), ("private-user-7", "t2")}


def test_publishing_never_waits_for_the_service(make_broker: MakeBroker, recorder: Recorder, settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_EVENTS_PER_S": 1_000}
    broker = make_broker()
    with recorder.holding_answers():
        for seq in range(1_000):
            broker.publish([message_of(snapshot_of("t1", seq)), message_of(event_of(f"event {seq}"))])
        assert_eventually(lambda: recorder.attempts == 1, "the first request waits for its answer")
        assert recorder.requests == []
    recorder.assert_received(*(f"event {seq}" for seq in range(1_000)))
    assert_eventually(lambda: shown_tasks(recorder) == {("private-task-t1", "t1"): 999}, "the newest one is received")


def test_events_are_sent_in_their_order_and_batched(make_broker: MakeBroker, recorder: Recorder) -> None:
    """P16, P60."""
    broker, names = make_broker(), [f"e{number}" for number in range(95)]
    with recorder.holding_answers():
        broker.publish([message_of(event_of(name)) for name in names])
    recorder.assert_received(*names)
    assert [event["name"] for event in recorder.events] == names
    assert len(recorder.requests) <= 11


def test_a_closed_broker_has_sent_what_is_urgent(make_broker: MakeBroker, recorder: Recorder, settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_EVENTS_PER_S": 0.001}
    broker, tasks = make_broker(), [f"t{number}" for number in range(35)]
    broker.publish([message_of(snapshot_of(task, state=State.SUCCEEDED)) for task in tasks])
    broker.close()
    assert {task for _channel, task in shown_tasks(recorder)} == set(tasks)


def test_closing_while_the_service_hangs_ends_and_logs_what_was_not_sent(
    make_broker: MakeBroker, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("telltale.pusher.publisher.sender.CLOSE_TIMEOUT_S", 0.1)
    monkeypatch.setattr("telltale.pusher.publisher.service.TIMEOUT_S", 0.5)
    broker = make_broker()
    with recorder.holding_answers():
        broker.publish([message_of(event_of(f"e{number}")) for number in range(30)])
        broker.close()
        assert recorder.requests == []
        assert_eventually(lambda: "messages were not sent" in caplog.text, "the loss is logged")


def test_an_outage_is_logged_when_it_begins_and_ends_and_the_newest_state_is_sent_then(
    make_broker: MakeBroker, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.stop()
    broker = make_broker()
    for seq in range(100):
        broker.publish([message_of(snapshot_of("t1", seq))])
    broker.publish([message_of(event_of("build.finished")), message_of(snapshot_of("t2", state=State.FAILED))])
    assert_eventually(lambda: "Sending to the Pusher service failed" in caplog.text, "the outage is logged")
    recorder.start()
    recorder.assert_received("build.finished")
    expected = {("private-task-t1", "t1"): 99, ("private-task-t2", "t2"): 1}
    assert_eventually(lambda: shown_tasks(recorder) == expected, "the newest snapshots are received")
    assert_eventually(lambda: "works again" in caplog.text, "the end of the outage is logged")
    assert caplog.text.count("Sending to the Pusher service failed") == 1


@pytest.mark.parametrize(
    ("status", "body"), [(401, "Unknown auth_key"), (403, "App disabled"), (404, "?"), (500, ""), (200, "<html>")]
)
def test_a_service_that_does_not_work_gets_the_events_once_it_does(
    make_broker: MakeBroker, recorder: Recorder, caplog: pytest.LogCaptureFixture, status: int, body: str
) -> None:
    """P53."""
    recorder.status, recorder.body = status, body
    broker = make_broker()
    broker.publish([message_of(event_of("build.finished"))])
    assert_eventually(lambda: "Sending to the Pusher service failed" in caplog.text, "the outage is logged")
    recorder.requests.clear()
    recorder.status, recorder.body = 200, "{}"
    recorder.assert_received("build.finished")


def test_the_log_of_an_outage_shows_neither_secret_nor_signature(
    make_broker: MakeBroker, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    recorder.stop()
    broker = make_broker()
    broker.publish([message_of(event_of("build.finished"))])
    assert_eventually(lambda: "Sending to the Pusher service failed" in caplog.text, "the outage is logged")
    assert f"port={recorder.port}" in caplog.text
    assert not any(secret in caplog.text for secret in (SECRET, KEY, "auth_signature"))


def test_an_event_that_the_service_refuses_does_not_take_others_with_it(
    make_broker: MakeBroker, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """P58."""
    recorder.refuses = lambda event: event["name"] == "wrong"
    broker = make_broker()
    with recorder.holding_answers():
        broker.publish([message_of(event_of(name)) for name in ("a", "b", "wrong", "c", "d")])
    recorder.assert_received("a", "b", "c", "d")
    assert [event["name"] for event in recorder.events] == ["a", "b", "c", "d"]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "refused the event 'wrong' on the channel 'private-project-7'" in record.getMessage()


def test_what_no_service_takes_is_an_error_in_the_log_and_the_others_are_sent(
    make_broker: MakeBroker, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """P57."""
    broker = make_broker()
    broker.publish([message_of(event_of(name)) for name in ("pusher:x", "x" * 201, "right")])
    broker.publish([message_of(snapshot_of("t1", message="x" * 12_000, state=State.SUCCEEDED))])
    broker.close()
    assert [event["name"] for event in recorder.events] == ["right"]
    assert caplog.text.count("use a name of at most 200 characters") == 2
    assert "make its texts shorter" in caplog.text


def test_progress_waits_for_the_plans_rate_and_ends_do_not(
    make_broker: MakeBroker, recorder: Recorder, settings: Any
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_EVENTS_PER_S": 0.001}
    broker = make_broker()
    broker.publish([message_of(snapshot_of(f"t{number}")) for number in range(30)])
    assert_eventually(lambda: len(recorder.events) == 10, "as much as is allowed at once is received")
    broker.publish([message_of(snapshot_of("t29", state=State.SUCCEEDED)), message_of(event_of("build.finished"))])
    recorder.assert_received("build.finished")
    assert len(recorder.events) == 12
    assert shown_tasks(recorder)["private-task-t29", "t29"] == 1


def test_many_snapshots_for_one_person_are_one_event(make_broker: MakeBroker, recorder: Recorder) -> None:
    broker = make_broker()
    with recorder.holding_answers():
        broker.publish([message_of(event_of("first"))])
        assert_eventually(lambda: recorder.attempts == 1, "the first request waits for its answer")
        for seq in range(50):
            broker.publish([message_of(snapshot_of(f"t{n}", seq, topics=("user:7",))) for n in range(10)])
    assert_eventually(lambda: len(shown_tasks(recorder)) == 10, "all tasks are received")
    assert set(shown_tasks(recorder).values()) == {49}
    assert len(recorder.named(UPDATE)) == 1


def test_a_kept_connection_that_the_service_closed_loses_nothing_and_is_no_outage(
    make_broker: MakeBroker, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """P64."""
    recorder.requests_per_connection = 1
    broker = make_broker()
    for name in ("a", "b", "c"):
        broker.publish([message_of(event_of(name))])
        recorder.assert_received(name)
    assert "failed" not in caplog.text


def test_own_topics_may_have_public_and_presence_channels(
    make_broker: MakeBroker, recorder: Recorder, settings: Any
) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "PUSHER_CHANNELS": {"news": "public", "room": "presence"}}
    broker = make_broker()
    broker.publish([message_of(event_of("e", topic=topic)) for topic in ("news:today", "room:7", "project:7")])
    broker.close()
    assert [event["channel"] for event in recorder.events] == ["news-today", "presence-room-7", "private-project-7"]


def test_events_on_encrypted_channels_can_be_read_with_the_channels_key_alone(
    make_broker: MakeBroker, recorder: Recorder, settings: Any
) -> None:
    """P25."""
    settings.TELLTALE = {
        **settings.TELLTALE,
        "PUSHER_CHANNELS": {"letter": "private-encrypted"},
        "PUSHER_MASTER_KEY": MASTER_KEY,
    }
    broker = make_broker()
    broker.publish([message_of(event_of("written", {"text": "Viele Grüße"}, topic="letter:7"))])
    broker.close()
    [event] = recorder.events
    assert event["channel"] == "private-encrypted-letter-7"
    assert "Viele" not in event["data"]
    sealed = {name: base64.b64decode(text) for name, text in json.loads(event["data"]).items()}
    secret = base64.b64decode(shared_secret(event["channel"], read_master_key(MASTER_KEY)))
    text = nacl.secret.SecretBox(secret).decrypt(sealed["ciphertext"], sealed["nonce"]).decode()
    assert json.loads(text) == {"text": "Viele Grüße"}


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that no list of authorities has, with its key, in one file."""
    path = tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", str(tmp_path / "own.pem")]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + (tmp_path / "own.pem").read_text())
    return path


def test_a_compatible_server_may_have_a_certificate_of_its_own(make_broker: MakeBroker, certificate: Path) -> None:
    """P77."""
    with recording(certificate) as recorder:
        broker = make_broker(recorder.url)
        broker.publish([message_of(event_of("build.finished"))])
        broker.close()
        assert [event["name"] for event in recorder.events] == ["build.finished"]


def test_an_unknown_certificate_is_refused(
    make_broker: MakeBroker, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """P77."""
    with recording(certificate) as recorder:
        broker = make_broker(recorder.url.partition("?")[0])
        broker.publish([message_of(event_of("build.finished"))])
        broker.close()
        assert recorder.events == []
    assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
