"""Several processes of the stand-in over one Redis, and clients of theirs."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.pusher.clients.apps import App
from tests.pusher.clients.raw import QUERY, RawClient
from tests.pusher.clients.signing import Api, channel_auth, user_auth
from tests.servers import Server


class Process(Server):
    """A server process. `port` is its own; apps and broker are the site's."""

    def __init__(self, directory: Path, app: App, options: Sequence[str]) -> None:
        super().__init__(directory, "pusher")
        self.app = app
        self._stack = ExitStack()
        command = [sys.executable, "-m", "telltale.pusher", "--port", str(self.port), *options]
        try:
            self._start(command, "serves Pusher's protocol", {"DJANGO_SETTINGS_MODULE": ""})
        except AssertionError:
            self.stop()
            raise
        self.api = Api(f"http://127.0.0.1:{self.port}", app)
        self._stack.callback(self.api.close)

    def kill(self) -> None:
        """End it as the operating system does when memory is short."""
        self.stop(signal.SIGKILL)

    def client(self) -> RawClient:
        """Return a connected client, which ends with the test at the latest."""
        client = RawClient(self.port, f"/app/{self.app.key}?{QUERY}")
        self._stack.callback(client.vanish)
        return client.establish()

    def subscriber(self, channel: str) -> RawClient:
        """Return a new subscriber of a public channel."""
        client = self.client()
        client.subscribe(channel)
        return client

    def member(self, channel: str, user_id: str) -> tuple[RawClient, set[str]]:
        """Return a new member of a presence channel, and the ids of the members that it was told."""
        client = self.client()
        data = json.dumps({"user_id": user_id, "user_info": {"name": user_id}})
        answer = client.subscribe(channel, channel_auth(self.app, client.socket_id, channel, data), data)
        assert answer["event"] == "pusher_internal:subscription_succeeded", answer
        return client, set(json.loads(answer["data"])["presence"]["ids"])

    def signed_in(self, user_id: str, **user: Any) -> RawClient:
        """Return a new client that is signed in."""
        client = self.client()
        data = json.dumps({"id": user_id, **user})
        client.send("pusher:signin", {"user_data": data, "auth": user_auth(self.app, client.socket_id, data)})
        client.until("pusher:signin_success")
        return client

    def users(self, channel: str) -> set[str]:
        """Return the members of a presence channel, as the HTTP API of this process tells them."""
        return {user["id"] for user in self.api.get(f"channels/{channel}/users").json()["users"]}

    def info(self, channel: str, info: str = "subscription_count") -> dict[str, Any]:
        """Return what the HTTP API of this process tells of a channel."""
        return dict(self.api.get(f"channels/{channel}", info=info).json())

    def free(self) -> None:
        """Close clients, and end the process."""
        try:
            self._stack.close()
        finally:
            self.stop()


MakeProcess = Callable[[], Process]


@contextmanager
def processes(directory: Path, app: App, broker_url: str, webhooks: Sequence[str] = ()) -> Iterator[MakeProcess]:
    """Yield a function that starts one more process of the site."""
    apps = directory / "apps.json"
    apps.write_text(json.dumps([app.setting(list(webhooks))]))
    with ExitStack() as stack:
        number = iter(range(100))

        def make_process() -> Process:
            own = directory / str(next(number))
            own.mkdir()
            process = Process(own, app, ["--apps", str(apps), "--broker", broker_url])
            stack.callback(process.free)
            return process

        yield make_process
