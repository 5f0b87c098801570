"""A server that records events, and brokers that publish to it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.brokers.factory import MakeBroker, broker_factory
from tests.pusher.publisher.recorder import Recorder, recording


@pytest.fixture(autouse=True)
def generous_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take long to answer; the tests that are about these limits set others."""
    monkeypatch.setattr("telltale.pusher.publisher.service.TIMEOUT_S", 60.0)
    monkeypatch.setattr("telltale.pusher.publisher.sender.CLOSE_TIMEOUT_S", 60.0)


@pytest.fixture(autouse=True)
def tasks_without_owner_have_followers(settings: Any) -> None:
    """Tasks without an owner have followers."""
    settings.TELLTALE = {**settings.TELLTALE, "CAN_FOLLOW": "tests.pusher.site_urls.can_follow_tasks"}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A server of its own for each test."""
    with recording() as recorder:
        yield recorder


@pytest.fixture
def make_broker(recorder: Recorder) -> Iterator[MakeBroker]:
    """`make_broker()` builds the broker of another process; `make_broker(url)`, one for another URL."""
    with broker_factory(recorder.url) as make_broker:
        yield make_broker
