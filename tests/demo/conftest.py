"""One demo for all of this folder's tests, and visitors to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from demo.airports import samples
from tests.demo.site import SupervisedSite, Visitor


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SupervisedSite]:
    with SupervisedSite(tmp_path_factory.mktemp("demo")) as site:
        yield site


@pytest.fixture
def comes(site: SupervisedSite) -> Iterator[Callable[[], Visitor]]:
    """Each call is another visitor."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Visitor(site.url))


@pytest.fixture
def visitor(comes: Callable[[], Visitor]) -> Visitor:
    return comes()


@pytest.fixture(scope="session")
def all_airports() -> str:
    return "".join(samples.airports())


@pytest.fixture(scope="session")
def few_airports() -> str:
    return "".join(samples.airports(3_000))
