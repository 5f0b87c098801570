"""Servers of the site with Channels, and its clients."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from websockets.sync.client import connect

from tests.servers import running
from tests.transports.sites import PATIENCE_S, ProcessSite, environment

COMMANDS: Final = {
    "daphne": "daphne -p {port} --application-close-timeout 5 tests.channels.site:",
    "uvicorn": "uvicorn --port {port} --timeout-graceful-shutdown 5 --log-level warning tests.channels.site:",
    "hypercorn": "hypercorn -b 127.0.0.1:{port} --graceful-timeout 5 tests.channels.site:",
}
"""Arguments of `python -m`, before the name of the application."""

HOOK: Final = "tests.channels.project.may_follow"


class ChannelsSite(ProcessSite):
    """A server in a process of its own; its clients send the Origin that a browser would."""

    @classmethod
    def serving(cls, directory: Path, server: str, application: str, **env: str) -> "ChannelsSite":
        variables = environment(CAN_FOLLOW=HOOK) | {"DJANGO_SETTINGS_MODULE": "tests.channels.site_settings"}
        site = cls(directory, (COMMANDS[server] + application).split(), variables | env)
        site.kind = server
        return site

    def socket(self, path: str = "/telltale/live/", **more: Any) -> connect:
        url = self.url.replace("http", "ws") + path
        return connect(url, open_timeout=PATIENCE_S, **{"origin": self.url, **more})


Serve = Callable[[str, str], ChannelsSite]


def serving(**env: str) -> Iterator[Serve]:
    """Yield `serve(server, application)`: the same process for all tests; one that was stopped is restarted."""
    with ExitStack() as stack:
        sites: dict[tuple[str, str], ChannelsSite] = {}

        def serve(server: str, application: str) -> ChannelsSite:
            key = (server, application)
            if key not in sites:
                sites[key] = stack.enter_context(
                    running(lambda directory: ChannelsSite.serving(directory, server, application, **env))
                )
            if sites[key].is_stopping:
                sites[key].wait_for_exit(PATIENCE_S)
            if not sites[key].is_alive:
                sites[key].start()
            return sites[key]

        yield serve
