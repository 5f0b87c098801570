"""What all tests share: nobody inherits another's broker, settings or owner, nor what was usual in another's tests."""

import gc
import os
import re
from collections.abc import Generator, Iterator

import hypothesis
import pytest

from telltale.live import heard
from telltale.store import clock, durations
from tests import empty_tables

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
    """The store keeps for some seconds what it knows of durations, and reads listen to late workers for a minute.

    The store's clock keeps its measurement for a minute. Without it, a test that asks a database for the time must say
    that it needs one, whatever ran before it.
    """
    clock._measurements.clear()
    durations._cached.clear()
    durations._unwritten.clear()
    heard.forget()


@pytest.fixture(autouse=True, scope="module")
def nothing_left_open() -> Iterator[None]:
    """What the tests of a module leave open is reported in that module, not in whatever test the collector runs in."""
    yield
    gc.collect()


@pytest.fixture(autouse=True, scope="session")
def quick_flush() -> None:
    """After a test with real transactions, empty only the tables that have rows."""
    empty_tables.install()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the collector all modules and tests, which live as long as the run: they took it half of the run's time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


ATTACK = re.compile(r"test_s\d\d_")
"""How the name of a test begins that covers a row of docs/threats.md, such as S9."""

SECOND_TRIES = 5
"""The most tests of one run that may need a second try."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of attacks. With TELLTALE_TEST_RETRY, as `make test` sets it, some tests may run once more.

    Several suites share the machine then, and a process or a thread may get no turn for many seconds. The report names
    each test that failed at first and shows why: a fault of the test or of the code until it is explained.
    """
    for item in items:
        if ATTACK.match(item.name):
            item.add_marker(pytest.mark.security)
    if os.environ.get("TELLTALE_TEST_RETRY"):
        for item in items:
            if _has_processes_or_threads(item):
                item.add_marker(pytest.mark.flaky(reruns=1))


def _has_processes_or_threads(item: pytest.Item) -> bool:
    database = item.get_closest_marker("django_db")
    return bool(item.get_closest_marker("service") or (database and database.kwargs.get("transaction")))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if many tests needed a second try: that is no accident."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and len(reporter.stats.get("rerun", [])) > SECOND_TRIES and not session.exitstatus:
        reporter.write_line(f"More than {SECOND_TRIES} tests needed a second try.", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
