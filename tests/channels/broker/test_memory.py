"""`channels://` over the in-memory layer: one process, and a warning if there are two."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from telltale.brokers.base import Broker
from telltale.testing.brokers import assert_eventually, collect, make_messages
from tests.brokers.factory import broker_factory
from tests.channels.layers import MEMORY, BreakableLayer, layers

OTHER_PROCESS = """
import sys
from django.conf import settings
from telltale.brokers import build
settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
broker = build("channels://")
broker.publish([])
from telltale.brokers.base import Message
broker.publish([Message(("project:7",), b"x")])
print("published", flush=True)
sys.stdin.readline()
broker.close()
"""


@pytest.fixture(autouse=True)
def lock_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def broker(settings: Any) -> Iterator[Broker]:
    settings.CHANNEL_LAYERS = layers(MEMORY)
    with broker_factory("channels://") as make_broker:
        yield make_broker()


@pytest.fixture
def other_process(settings: Any) -> Iterator["subprocess.Popen[str]"]:
    """Another process of the site, which publishes over its own in-memory layer."""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    env["TELLTALE_TEST_DB"] = str(settings.DATABASES["default"]["NAME"])
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "published\n"
        yield process
        process.kill()


def test_one_process_is_not_warned(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    received = collect(broker)
    broker.publish(make_messages(b"one"))
    received.assert_received(b"one")
    broker.close()
    broker.publish(make_messages(b"two"))
    assert caplog.text == ""


def test_a_second_process_is_told_which_layer_or_broker_to_use(
    other_process: "subprocess.Popen[str]", broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.publish(make_messages(b"one"))
    assert f"process {other_process.pid} uses it too" in caplog.text
    assert "Use a layer of channels_redis, or TELLTALE['BROKER'] = 'local://'" in caplog.text


def test_a_forked_child_is_told_too_and_the_parent_goes_on(broker: Broker, tmp_path: Path) -> None:
    received = collect(broker)
    broker.publish(make_messages(b"before"))
    received.assert_received(b"before")
    log = tmp_path / "log"
    child = os.fork()
    if not child:
        try:
            import logging

            logging.getLogger("telltale.brokers").addHandler(logging.FileHandler(log))
            broker.publish(make_messages(b"child"))
            broker.close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert f"process {os.getpid()} uses it too" in log.read_text()
    broker.publish(make_messages(b"after"))
    received.assert_received(b"after")
    assert b"child" not in received


def test_all_that_is_published_at_a_time_is_sent_together(broker: Broker) -> None:
    received = collect(broker)
    before = len(BreakableLayer.made[-1].sent)
    for n in range(1_000):
        broker.publish(make_messages(b"%d" % n))
    received.assert_received(*(b"%d" % n for n in range(1_000)))
    assert len(BreakableLayer.made[-1].sent) - before < 20


def test_a_layer_that_forgets_the_group_is_noticed_by_its_silence(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telltale.channels.broker.subscription.SILENCE_S", 0.3)
    monkeypatch.setattr("telltale.channels.broker.subscription.ANSWER_TIMEOUT_S", 0.5)
    received = collect(broker)
    missed_before = received.missed_count
    BreakableLayer.forget_groups()
    assert_eventually(lambda: received.missed_count > missed_before, "missed messages are reported")
    broker.publish(make_messages(b"after"))
    received.assert_received(b"after")
