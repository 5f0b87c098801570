"""What all tests share: nobody inherits another's broker, settings or owner, nor what was usual in another's tests."""

import pytest

from telltale import store


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """The store keeps for some seconds what it knows of durations."""
    store._usual.clear()
    store._unlearnt.clear()
