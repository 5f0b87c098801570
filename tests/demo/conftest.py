"""One demo site for all tests of this folder, and its visitors."""

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
def new_visitor(site: SupervisedSite) -> Iterator[Callable[[], Visitor]]:
    """Each call returns another visitor."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Visitor(site.url))


@pytest.fixture
def visitor(new_visitor: Callable[[], Visitor]) -> Visitor:
    return new_visitor()


@pytest.fixture(scope="session")
def airports() -> str:
    """A file whose import takes about ten seconds."""
    return "".join(samples.airports(9_000))


@pytest.fixture(scope="session")
def few_airports() -> str:
    return "".join(samples.airports(3_000))
