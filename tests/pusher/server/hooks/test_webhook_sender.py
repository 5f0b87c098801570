"""Webhooks against a real HTTP server that accepts, fails, hangs, redirects and hangs up."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pusher
import pytest

from telltale import native
from telltale.pusher.pusher_apps import PusherApp, WebhookTarget
from telltale.pusher.server.hooks import webhook_request
from telltale.pusher.server.hooks.events import HookEvent
from telltale.pusher.server.hooks.webhook_request import address_of
from telltale.pusher.server.hooks.webhook_sender import WebhookSender
from telltale.pusher.server.hooks.webhook_target import Timing
from telltale.testing.brokers import TIMEOUT_S, assert_eventually
from tests.pusher.server.hooks.webhook_receiver import (
    Answer,
    Receiver,
    byte_by_byte,
    hanging_up,
    held,
    receiving,
    status,
    then_hanging_up,
)

QUICK = Timing(answer_s=TIMEOUT_S, first_wait_s=0.05, max_wait_s=0.2)

MakeSender = Callable[[Timing], WebhookSender]


@pytest.fixture
def make_sender() -> Iterator[MakeSender]:
    senders: list[WebhookSender] = []

    def make(timing: Timing) -> WebhookSender:
        senders.append(WebhookSender(timing))
        return senders[-1]

    yield make
    for sender in senders:
        sender.close(flush_s=0.0)
    # So that no other test sees what they log.
    assert_eventually(lambda: not any(map(is_sending, threading.enumerate())), "all threads have ended")


@pytest.fixture
def sender(make_sender: MakeSender) -> WebhookSender:
    return make_sender(QUICK)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Releases servers that hang; set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def is_sending(thread: threading.Thread) -> bool:
    return thread.name == "telltale-pusher-webhooks"


def app_for(*urls: str, **fields: object) -> PusherApp:
    app = PusherApp(id="3", key="278d425bdf160c739803", secret="7ad3773142a6692b25b8")
    return replace(app, webhooks=tuple([WebhookTarget(url=url, **fields) for url in urls]))  # type: ignore[arg-type]


def occupied(*channels: str) -> list[HookEvent]:
    return [HookEvent(app_id="3", name="channel_occupied", channel=channel) for channel in channels]


def rooms(number: int) -> list[str]:
    return [f"room-{index}" for index in range(number)]


def channels_of(events: Sequence[dict[str, str]]) -> list[str]:
    return [event["channel"] for event in events]


# What is sent


def test_the_official_library_accepts_a_webhook(receiver: Receiver, sender: WebhookSender) -> None:
    """P66, P67."""
    app = app_for(receiver.url)
    added = HookEvent(app_id="3", name="member_added", channel="presence-ü", user_id="ada", user_info={"a": 1})
    sender.send(app, [*occupied("room"), added])
    [request] = receiver.wait_for(1)
    library = pusher.Pusher(app_id=app.id, key=app.key, secret=app.secret)
    key, signature = request.headers["X-Pusher-Key"], request.headers["X-Pusher-Signature"]
    webhook = library.validate_webhook(key, signature, request.body.decode())
    assert webhook["events"] == [
        {"name": "channel_occupied", "channel": "room"},
        {"name": "member_added", "channel": "presence-ü", "user_id": "ada"},
    ]
    assert library.validate_webhook(key, signature, request.body.decode().replace("room", "moor")) is None


def test_the_content_type_is_exactly_json(receiver: Receiver, sender: WebhookSender) -> None:
    """P66."""
    sender.send(app_for(receiver.url), occupied("room"))
    [request] = receiver.wait_for(1)
    assert request.headers.get_all("Content-Type") == ["application/json"]


def test_at_most_twenty_events_go_in_one_request_and_in_order(receiver: Receiver, sender: WebhookSender) -> None:
    """P68."""
    sender.send(app_for(receiver.url), occupied(*rooms(45)))
    requests = receiver.wait_for(3)
    assert [len(request.events) for request in requests] == [20, 20, 5]
    assert channels_of(receiver.events) == rooms(45)
    assert_eventually(lambda: sender.counts.sent["3"] == 45, "all are counted as sent")


def test_a_target_hears_only_the_events_that_it_asked_for(
    make_receiver: Callable[[], Receiver], sender: WebhookSender
) -> None:
    all_events, some = make_receiver(), make_receiver()
    app = app_for(all_events.url)
    app = replace(app, webhooks=(*app.webhooks, WebhookTarget(url=some.url, events=frozenset({"cache_miss"}))))
    sender.send(app, [*occupied("room"), HookEvent(app_id="3", name="cache_miss", channel="cache-room")])
    some.wait_for(1)
    all_events.wait_for(1)
    assert [event["name"] for event in some.events] == ["cache_miss"]
    assert [event["name"] for event in all_events.events] == ["channel_occupied", "cache_miss"]


def test_a_target_has_headers_of_its_own_and_can_not_replace_ours(receiver: Receiver, sender: WebhookSender) -> None:
    headers = (("Authorization", "Bearer abc"), ("content-type", "text/plain"), ("x-pusher-key", "other"))
    app = app_for(receiver.url, headers=headers)
    sender.send(app, occupied("room"))
    [request] = receiver.wait_for(1)
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers.get_all("Content-Type") == ["application/json"]
    assert request.headers.get_all("X-Pusher-Key") == [app.key]


def test_batches_share_a_connection(receiver: Receiver, sender: WebhookSender) -> None:
    sender.send(app_for(receiver.url), occupied(*rooms(60)))
    requests = receiver.wait_for(3)
    assert len({request.client for request in requests}) == 1


def test_a_new_secret_signs_what_is_sent_again(receiver: Receiver, sender: WebhookSender) -> None:
    old = app_for(receiver.url)
    new = replace(old, secret="another secret")
    turned = threading.Event()

    def refused_until_the_secret_changed(handler: object) -> None:
        turned.wait(TIMEOUT_S)
        status(401)(handler)  # type: ignore[arg-type]

    receiver.answers.append(refused_until_the_secret_changed)
    sender.send(old, occupied("a"))
    receiver.wait_for(1)
    sender.send(new, occupied("b"))
    turned.set()
    first, again = receiver.wait_for(2)[:2]
    assert first.body == again.body
    library = pusher.Pusher(app_id=new.id, key=new.key, secret=new.secret)
    assert library.validate_webhook(new.key, again.headers["X-Pusher-Signature"], again.body.decode())


# Failing targets


@pytest.mark.parametrize("failure", [status(500), status(404), hanging_up, status(304)])
def test_a_failed_request_is_sent_again_and_the_order_is_kept(
    receiver: Receiver, sender: WebhookSender, failure: Answer
) -> None:
    """P68."""
    receiver.answers.extend([failure, failure])
    sender.send(app_for(receiver.url), occupied(*rooms(25)))
    requests = receiver.wait_for(4)
    assert len({request.body for request in requests[:3]}) == 1
    assert channels_of([*requests[2].events, *requests[3].events]) == rooms(25)
    assert_eventually(lambda: sender.counts.sent["3"] == 25, "all are counted as sent")
    assert (sender.counts.retried["3"], sender.counts.dropped["3"]) == (2, 0)


def test_a_redirect_is_a_failure_and_is_not_followed(
    make_receiver: Callable[[], Receiver], sender: WebhookSender
) -> None:
    receiver, elsewhere = make_receiver(), make_receiver()
    receiver.answers.extend([status(code, Location=elsewhere.url) for code in (301, 302, 307, 308)])
    sender.send(app_for(receiver.url), occupied("room"))
    assert_eventually(lambda: sender.counts.sent["3"] == 1, "the fifth try is accepted")
    assert len(receiver.requests) == 5
    assert elsewhere.requests == []


def test_a_target_that_hangs_is_given_up_and_tried_again(
    receiver: Receiver, make_sender: MakeSender, released: threading.Event
) -> None:
    """P68."""
    sender = make_sender(replace(QUICK, answer_s=0.3))
    receiver.answers.append(held(released))
    sender.send(app_for(receiver.url), occupied("room"))
    first, second = receiver.wait_for(2)[:2]
    assert first.body == second.body
    assert first.client != second.client


def test_a_target_that_answers_byte_by_byte_is_given_up_like_one_that_hangs(
    receiver: Receiver, make_sender: MakeSender, released: threading.Event
) -> None:
    """P68."""
    sender = make_sender(replace(QUICK, answer_s=0.3))
    receiver.answers.append(byte_by_byte(released))
    sender.send(app_for(receiver.url), occupied("room"))
    receiver.wait_for(2)


def test_a_target_that_hangs_does_not_delay_another(
    make_receiver: Callable[[], Receiver], sender: WebhookSender, released: threading.Event
) -> None:
    hanging, other = make_receiver(), make_receiver()
    hanging.answers.append(held(released))
    app = app_for(hanging.url, other.url)
    sender.send(app, occupied("a"))
    hanging.wait_for(1)
    sender.send(app, occupied("b"))
    assert_eventually(lambda: channels_of(other.events) == ["a", "b"], "the other target has heard both")
    assert channels_of(hanging.events) == ["a"]
    released.set()
    assert_eventually(lambda: channels_of(hanging.events) == ["a", "b"], "the first goes on, in order")


def test_a_connection_that_the_target_closed_while_idle_is_no_failure(
    receiver: Receiver, sender: WebhookSender
) -> None:
    receiver.answers.append(then_hanging_up)
    for number in (1, 2):
        sender.send(app_for(receiver.url), occupied("room"))
        assert_eventually(lambda: sender.counts.sent["3"] == number, "the events are accepted")  # noqa: B023 (called at once)
    assert sender.counts.retried["3"] == 0


def test_events_are_dropped_with_one_log_line_when_the_target_fails_for_too_long(
    receiver: Receiver, make_sender: MakeSender, caplog: pytest.LogCaptureFixture
) -> None:
    """P68."""
    sender = make_sender(replace(QUICK, retry_s=0.5))
    receiver.answers.extend([status(503)] * 1_000)
    for _ in range(3):
        sender.send(app_for(receiver.url), occupied(*rooms(30)))
    assert_eventually(lambda: sender.counts.dropped["3"] == 90, "all are dropped")
    assert len([record for record in caplog.records if "were dropped" in record.message]) == 1
    assert len([record for record in caplog.records if "failed:" in record.message]) == 1
    receiver.answers.clear()
    sender.send(app_for(receiver.url), occupied("later"))
    assert_eventually(lambda: sender.counts.sent["3"] == 1, "the target works again")
    assert receiver.events[-1]["channel"] == "later"
    assert_eventually(lambda: "works again" in caplog.text, "the end of the outage is logged")


def test_a_target_that_is_not_there_is_tried_until_it_is(sender: WebhookSender) -> None:
    receiver = Receiver()
    receiver.server_close()
    sender.send(app_for(receiver.url), occupied("room"))
    assert_eventually(lambda: sender.counts.retried["3"] >= 2, "it is tried again")
    with receiving(Receiver(receiver.server_port)) as started_late:
        started_late.wait_for(1)


# Addresses


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/x", "file:///etc/passwd", "example.com/hooks", "http://", "http://u:p@host/", "http://h:x/"],
)
def test_an_address_that_is_not_http_is_refused_with_the_mend(url: str) -> None:
    with pytest.raises(ValueError, match=r"http://|header|[Pp]ort"):
        address_of(url)


def test_a_wrong_address_is_logged_once_and_others_work(
    receiver: Receiver, sender: WebhookSender, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_for("gopher://example.com/", receiver.url)
    sender.send(app, occupied("a"))
    sender.send(app, occupied("b"))
    assert_eventually(lambda: channels_of(receiver.events) == ["a", "b"], "the other target hears both")
    [record] = caplog.records
    assert "gopher://example.com/" in record.message
    assert "write http:// or https://" in record.message
    assert sender.counts.dropped["3"] == 2


def test_paths_and_queries_are_sent_as_they_are_and_queries_are_not_logged(
    receiver: Receiver, sender: WebhookSender, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers.append(status(500))
    sender.send(app_for(f"{receiver.url}/ä%20b?token=geheim&x=/?"), occupied("room"))
    assert receiver.wait_for(2)[1].path == "/hooks/%C3%A4%20b?token=geheim&x=/?"
    assert "failed" in caplog.text
    assert "geheim" not in caplog.text


def test_tls_is_checked(
    sender: WebhookSender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    receiver = Receiver()
    receiver.use_tls(certificate, key)
    webhook_request._tls_context.cache_clear()
    with receiving(receiver):
        sender.send(app_for(receiver.url), occupied("untrusted"))
        assert_eventually(lambda: "CERTIFICATE_VERIFY_FAILED" in caplog.text, "an unknown certificate is refused")
        assert receiver.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        webhook_request._tls_context.cache_clear()
        assert_eventually(lambda: channels_of(receiver.events) == ["untrusted"], "a known certificate is accepted")
    webhook_request._tls_context.cache_clear()


# The end


def test_close_sends_what_is_queued_without_waiting_for_a_full_batch(
    receiver: Receiver, make_sender: MakeSender
) -> None:
    sender = make_sender(QUICK)
    sender.send(app_for(receiver.url), occupied(*rooms(21)))
    sender.close(flush_s=TIMEOUT_S)
    assert channels_of(receiver.events) == rooms(21)


def test_close_does_not_wait_for_a_target_that_hangs(
    receiver: Receiver, make_sender: MakeSender, released: threading.Event
) -> None:
    sender = make_sender(replace(QUICK, answer_s=1.0))
    receiver.answers.append(held(released))
    sender.send(app_for(receiver.url), occupied(*rooms(25)))
    receiver.wait_for(1)
    sender.close(flush_s=0.2)
    assert_eventually(lambda: sender.counts.dropped["3"] == 25, "what was not accepted is counted as dropped")
    assert not released.is_set()


def test_nothing_is_sent_after_close(receiver: Receiver, make_sender: MakeSender) -> None:
    sender = make_sender(QUICK)
    sender.close()
    sender.send(app_for(receiver.url), occupied("room"))
    assert sender.counts.dropped["3"] == 1
    assert receiver.requests == []


def test_a_thread_without_events_ends_and_the_next_event_starts_another(
    receiver: Receiver, make_sender: MakeSender
) -> None:
    sender = make_sender(replace(QUICK, idle_s=0.05))
    for number in (1, 2):
        sender.send(app_for(receiver.url), occupied("room"))
        receiver.wait_for(number)
        assert_eventually(lambda: not any(map(is_sending, threading.enumerate())), "the thread has ended")


FORK = """
import os, sys
from telltale.pusher.pusher_apps import PusherApp, WebhookTarget
from telltale.pusher.server.hooks.events import HookEvent
from telltale.pusher.server.hooks.webhook_sender import WebhookSender

app = PusherApp(id="3", key="key", secret="secret", webhooks=(WebhookTarget(url=sys.argv[1]),))
event = lambda channel: HookEvent(app_id="3", name="channel_occupied", channel=channel)
sender = WebhookSender()
with sender._lock:  # as another thread may hold it
    sender._thread_of(app, app.webhooks[0]).add(app, app.webhooks[0], [event("parent")])
    child = os.fork()
    if child == 0:
        sender.send(app, [event("child")])
        sender.close()
        os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
sender.close()
"""


def test_a_forked_child_sends_its_own_events_and_leaves_the_parents_to_the_parent(receiver: Receiver) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, receiver.url], check=True, env=environment
    )
    assert sorted(channels_of(receiver.events)) == ["child", "parent"]


def test_logging_is_quiet_while_all_goes_well(
    receiver: Receiver, sender: WebhookSender, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="telltale.pusher"):
        sender.send(app_for(receiver.url), occupied("room"))
        assert_eventually(lambda: sender.counts.sent["3"] == 1, "the event is accepted")
    assert caplog.records == []


# Without threads


def no_thread(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


def test_events_for_which_the_system_had_no_thread_are_sent_with_the_next_ones(
    receiver: Receiver, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = app_for(receiver.url)
    with monkeypatch.context() as patched:
        patched.setattr(native, "start_thread", no_thread)
        sender.send(app, occupied("room-0"))
    sender.send(app, occupied("room-1"))
    assert_eventually(lambda: channels_of(receiver.events) == rooms(2), "both have arrived")


def test_closing_waits_for_no_thread_that_was_not_started_and_counts_its_events(
    receiver: Receiver, sender: WebhookSender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "start_thread", no_thread)
    sender.send(app_for(receiver.url), occupied("room-0"))
    began_at = time.monotonic()
    sender.close(flush_s=TIMEOUT_S)
    assert time.monotonic() - began_at < TIMEOUT_S
    assert sender.counts.dropped["3"] == 1
