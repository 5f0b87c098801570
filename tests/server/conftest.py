"""Live servers in processes of their own."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.transports.conftest import publishing_to_processes
from tests.transports.sites import ProcessSite, environment

Starts = Callable[..., ProcessSite]


@pytest.fixture
def starts(transactional_db: None, tmp_path: Path) -> Iterator[Starts]:
    """`starts("--processes", "2")`: a running live server with these options, this broker and these settings."""
    with ExitStack() as stack, publishing_to_processes():

        def start(*options: str, broker: str = "local://", **settings: object) -> ProcessSite:
            directory = tmp_path / f"server-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            env = environment(**settings) | {"TELLTALE_BROKER": broker}
            site = ProcessSite(directory, ["telltale.server", "--port", "{port}", *options], env)
            stack.callback(site.stop, signal.SIGKILL)
            return site

        yield start
