"""What all tests share: nobody inherits another's broker, settings or owner, nor what was usual in another's tests."""

import pytest

from telltale.store import durations


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """The store keeps for some seconds what it knows of durations."""
    durations._cached.clear()
    durations._unwritten.clear()
