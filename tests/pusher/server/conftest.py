"""What tests of the stand-in server share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.pusher.clients.apps import MAIN
from tests.pusher.clients.signing import Api
from tests.pusher.server.hooks.webhook_receiver import Receiver, receiving
from tests.servers import running
from tests.transports.sites import COMMANDS, ProcessSite, environment

PREFIX = "/ws"
"""Where `site` serves Pusher's clients."""

Serve = Callable[[str], ProcessSite]


@pytest.fixture
def make_receiver() -> Iterator[Callable[[], Receiver]]:
    """Return a function that starts one more receiver of webhooks."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(receiving(Receiver()))


@pytest.fixture
def receiver(make_receiver: Callable[[], Receiver]) -> Receiver:
    """A receiver of webhooks, which serves."""
    return make_receiver()


@pytest.fixture(scope="module")
def serve(django_db_setup: None) -> Iterator[Serve]:
    """`serve(kind)`: a site with the stand-in on this server, the same for all tests of a module."""
    with ExitStack() as stack:
        sites: dict[str, ProcessSite] = {}

        def serve(kind: str) -> ProcessSite:
            if kind not in sites:
                env = environment(PUSHER_APPS=[MAIN.setting()], PUSHER_PATH=PREFIX)
                sites[kind] = stack.enter_context(
                    running(lambda directory: ProcessSite(directory, COMMANDS[kind].split(), env))
                )
                sites[kind].kind = kind
            return sites[kind]

        yield serve


@pytest.fixture(params=list(COMMANDS))
def site(request: pytest.FixtureRequest, serve: Serve, transactional_db: None) -> ProcessSite:
    """A site on each ASGI server in turn."""
    return serve(request.param)


@pytest.fixture
def api(site: ProcessSite) -> Iterator[Api]:
    """The HTTP API of the site, whose signatures cover the prefix as well."""
    api = Api(site.url, MAIN, PREFIX)
    yield api
    api.close()
