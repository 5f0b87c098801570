"""Receivers of the stand-in's signals run on a thread of their own, in order, and never hold up the server."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.dispatch import Signal

from telltale import native
from telltale.pusher.server.hooks.signals import QUEUE_LENGTH, SignalRunner
from telltale.testing.brokers import TIMEOUT_S, assert_eventually

THREAD = "telltale-pusher-signals"


@pytest.fixture
def runner() -> Iterator[SignalRunner]:
    runner = SignalRunner(idle_s=3_600.0)
    yield runner
    runner.close(flush_s=TIMEOUT_S)


@contextmanager
def connected(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def test_receivers_are_called_in_order_with_the_arguments(runner: SignalRunner) -> None:
    signal, calls = Signal(), []

    def receive(sender: object, app_id: str, channel: str, **kwargs: object) -> None:
        calls.append((sender, app_id, channel))

    with connected(signal, receive):
        for number in range(50):
            runner.send(signal, app_id="1", channel=f"room-{number}")
        assert_eventually(lambda: len(calls) == 50, "all signals are received")
    assert calls == [(None, "1", f"room-{number}") for number in range(50)]


def test_signals_of_several_kinds_keep_their_order_and_one_thread(runner: SignalRunner) -> None:
    first, second, calls = Signal(), Signal(), []

    def receive(number: int, **_: object) -> None:
        calls.append((number, threading.current_thread().name))

    with connected(first, receive), connected(second, receive):
        for number in range(20):
            runner.send(first if number % 2 else second, number=number)
        assert_eventually(lambda: len(calls) == 20, "all signals are received")
    assert calls == [(number, THREAD) for number in range(20)]


def test_signals_for_which_the_system_had_no_thread_are_sent_with_the_next_one(
    runner: SignalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal, calls = Signal(), []

    def receive(number: int, **_: object) -> None:
        calls.append(number)

    with connected(signal, receive):
        with monkeypatch.context() as patched:
            patched.setattr(native, "start_thread", no_thread)
            runner.send(signal, number=1)
        runner.send(signal, number=2)
        assert_eventually(lambda: calls == [1, 2], "both are received")


def no_thread(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


def test_a_receiver_that_blocks_does_not_block_the_sender(runner: SignalRunner) -> None:
    signal, released, calls = Signal(), threading.Event(), []

    def receive(number: int, **_: object) -> None:
        released.wait(TIMEOUT_S)
        calls.append(number)

    with connected(signal, receive):
        for number in range(5):
            runner.send(signal, number=number)
        assert calls == []  # The sender has come here while the first receiver still blocks.
        released.set()
        assert_eventually(lambda: calls == [0, 1, 2, 3, 4], "all signals are received")


def test_the_oldest_signals_are_dropped_while_a_receiver_blocks(
    runner: SignalRunner, caplog: pytest.LogCaptureFixture
) -> None:
    signal, begun, released, calls = Signal(), threading.Event(), threading.Event(), []

    def receive(number: int, **_: object) -> None:
        begun.set()
        released.wait(TIMEOUT_S)
        calls.append(number)

    with connected(signal, receive):
        runner.send(signal, number=-1)
        assert begun.wait(TIMEOUT_S)
        for number in range(QUEUE_LENGTH + 3):
            runner.send(signal, number=number)
        released.set()
        assert_eventually(lambda: len(calls) == 1 + QUEUE_LENGTH, "the others are received")
    assert calls[:2] == [-1, 3]
    assert calls[-1] == QUEUE_LENGTH + 2
    assert runner.dropped.total == 3
    assert len([record for record in caplog.records if "too slow" in record.message]) == 1


def test_a_receiver_that_fails_is_logged_and_the_others_are_called(
    runner: SignalRunner, caplog: pytest.LogCaptureFixture
) -> None:
    signal, calls = Signal(), []

    def fail(**_: object) -> None:
        raise RuntimeError("broken receiver")

    def receive(number: int, **_: object) -> None:
        calls.append(number)

    with connected(signal, fail), connected(signal, receive):
        runner.send(signal, number=1)
        runner.send(signal, number=2)
        assert_eventually(lambda: calls == [1, 2], "the other receiver is called, for the next signal too")
    assert caplog.text.count("RuntimeError: broken receiver") == 2


def test_a_coroutine_function_may_be_a_receiver(runner: SignalRunner) -> None:
    signal, calls = Signal(), []

    async def receive(number: int, **_: object) -> None:
        calls.append(number)

    with connected(signal, receive):
        runner.send(signal, number=1)
        assert_eventually(lambda: calls == [1], "it is called")


def test_a_signal_without_receivers_is_not_queued(runner: SignalRunner) -> None:
    blocked, signal = Signal(), Signal()
    released, calls = threading.Event(), []

    def block(**_: object) -> None:
        released.wait(TIMEOUT_S)

    def receive(number: int, **_: object) -> None:
        calls.append(number)

    with connected(blocked, block):
        runner.send(blocked)
        runner.send(signal, number=1)
        with connected(signal, receive):
            runner.send(signal, number=2)
            released.set()
            assert_eventually(lambda: calls == [2], "only the second is received")


@pytest.mark.django_db(transaction=True)
def test_receivers_use_the_database_and_its_connections_are_closed(runner: SignalRunner) -> None:
    signal, seen = Signal(), []

    def receive(**_: object) -> None:
        get_user_model().objects.create_user("ada")
        seen.append((connection.connection, connections["default"]))

    with connected(signal, receive):
        runner.send(signal)
        assert_eventually(lambda: len(seen) == 1, "the receiver has run")
    [(opened, wrapper)] = seen
    assert opened is not None
    assert_eventually(lambda: wrapper.connection is None, "the connection is closed")
    assert get_user_model().objects.filter(username="ada").exists()


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_that_reached_its_age_is_replaced_before_receivers_run(
    runner: SignalRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 3_600)
    signal, seen = Signal(), []

    def receive(**_: object) -> None:
        get_user_model().objects.exists()
        seen.append((connection.connection, connections["default"]))

    with connected(signal, receive):
        runner.send(signal)
        runner.send(signal)
        assert_eventually(lambda: len(seen) == 2, "the receiver has run twice")
        seen[0][1].close_at = 0.0
        runner.send(signal)
        assert_eventually(lambda: len(seen) == 3, "the receiver has run again")
    assert seen[0][0] is seen[1][0]
    assert seen[2][0] is not seen[1][0]


def test_close_sends_what_is_queued(runner: SignalRunner) -> None:
    signal, begun, calls = Signal(), threading.Event(), []

    def receive(number: int, **_: object) -> None:
        begun.wait(TIMEOUT_S)
        calls.append(number)

    with connected(signal, receive):
        for number in range(30):
            runner.send(signal, number=number)
        begun.set()
        runner.close(flush_s=TIMEOUT_S)
        assert calls == list(range(30))
        runner.send(signal, number=30)
    assert calls == list(range(30))
    assert runner.dropped.total == 1


def test_close_does_not_wait_for_a_receiver_that_blocks(runner: SignalRunner) -> None:
    signal, begun, released = Signal(), threading.Event(), threading.Event()

    def receive(**_: object) -> None:
        begun.set()
        released.wait(TIMEOUT_S)

    with connected(signal, receive):
        runner.send(signal)
        assert begun.wait(TIMEOUT_S)
        runner.send(signal)
        runner.close(flush_s=0.1)
        assert runner.dropped.total == 1
        assert not released.is_set()
        released.set()


def test_the_thread_ends_when_there_are_no_signals_and_starts_again() -> None:
    runner, signal, calls = SignalRunner(idle_s=0.05), Signal(), []

    def receive(number: int, **_: object) -> None:
        calls.append(number)

    with connected(signal, receive):
        for number in range(3):
            runner.send(signal, number=number)
            assert_eventually(
                lambda: not any(thread.name == THREAD for thread in threading.enumerate()), "the thread has ended"
            )
    runner.close()
    assert calls == [0, 1, 2]


FORK = """
import os
import django
from django.dispatch import Signal
django.setup()
from telltale.pusher.server.hooks.signals import SignalRunner

signal, runner, calls = Signal(), SignalRunner(), []
receive = lambda **arguments: calls.append(arguments["number"])
signal.connect(receive)
with runner._lock:  # as another thread may hold it
    child = os.fork()
    if child == 0:
        runner.send(signal, number=1)
        runner.close()
        os._exit(0 if calls == [1] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child sends its own"
runner.send(signal, number=2)
runner.close()
assert calls == [2]
"""


def test_a_forked_child_has_a_thread_of_its_own() -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", FORK], check=True, env=environment)
