"""Long time limits: on a slow machine, no layer counts as broken, and no message is lost because a wait ended early."""

import pytest


@pytest.fixture(autouse=True)
def long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests of failures that only a time limit finds shorten that limit."""
    monkeypatch.setattr("telltale.channels.broker.broker.LISTEN_TIMEOUT_S", 30.0)
    monkeypatch.setattr("telltale.channels.broker.sender.LAYER_TIMEOUT_S", 30.0)
    monkeypatch.setattr("telltale.channels.broker.subscription.LAYER_TIMEOUT_S", 30.0)
    monkeypatch.setattr("telltale.channels.broker.subscription.ANSWER_TIMEOUT_S", 30.0)
    monkeypatch.setattr("telltale.channels.broker.thread.CLOSE_TIMEOUT_S", 30.0)
