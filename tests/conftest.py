"""What all tests share: nobody inherits another's broker, settings or owner, nor what was usual in another's tests."""

import hypothesis
import pytest

from telltale.store import durations

# A busy machine may take a second for one example.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """The store keeps for some seconds what it knows of durations."""
    durations._cached.clear()
    durations._unwritten.clear()
