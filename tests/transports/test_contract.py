"""Every transport keeps its contract on each kind of site: with a real server and a real client."""

from collections.abc import Iterator

import pytest

from telltale.testing.transports import Connect, TransportContract
from tests.transports.conftest import CLIENTS, connecting
from tests.transports.sites import Site

pytestmark = pytest.mark.service


class TestTransports(TransportContract):
    @pytest.fixture(params=sorted(CLIENTS))
    def connect(self, request: pytest.FixtureRequest, site: Site) -> Iterator[Connect]:
        yield from connecting(site, CLIENTS[request.param])
