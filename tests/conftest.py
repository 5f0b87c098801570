"""What all tests share: nobody inherits another's broker, settings or owner, nor what was usual in another's tests."""

import os

import hypothesis
import pytest

from telltale.live import heard
from telltale.store import durations

# A busy machine may take a second for one example. `make test` sets TELLTALE_SEED, and always runs the same ones.
hypothesis.settings.register_profile(
    "tests",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize="TELLTALE_SEED" in os.environ,
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(autouse=True)
def nothing_learnt() -> None:
    """The store keeps for some seconds what it knows of durations, and reads listen to late workers for a minute."""
    durations._cached.clear()
    durations._unwritten.clear()
    heard.forget()


SECOND_TRIES = 5
"""The most tests of one run that may need a second try."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With TELLTALE_TEST_RETRY, as `make test` sets it, a test of real processes that fails is run once more.

    Several suites share the machine then, and a process may get no turn for many seconds. The report names each such
    test and shows its first failure, which is a fault of the test or of the code until it is explained.
    """
    if os.environ.get("TELLTALE_TEST_RETRY"):
        for item in items:
            if item.get_closest_marker("service"):
                item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if many tests needed a second try: that is no accident."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and len(reporter.stats.get("rerun", [])) > SECOND_TRIES and not session.exitstatus:
        reporter.write_line(f"More than {SECOND_TRIES} tests needed a second try.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
