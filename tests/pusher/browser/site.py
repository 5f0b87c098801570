"""The demo as real processes whose broker is a stand-in server. The web server speaks WSGI: it can hold no connections,
so a page that is live gets its events from the stand-in server.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from demo import run
from tests.demo.site import Site, wait_until_up
from tests.pusher.clients.apps import App
from tests.pusher.clients.stand_in import StandIn

APP: Final = App.number(1)


class PusherSite(Site):
    """`more`: settings of Telltale."""

    def __init__(self, directory: Path, stand_in: StandIn, **more: Any) -> None:
        super().__init__(directory)
        self.environment |= {
            "DJANGO_SETTINGS_MODULE": "tests.pusher.browser.settings",
            "PUSHER_URL": f"pusher://{APP.key}:{APP.secret}@127.0.0.1:{stand_in.port}/{APP.id}?tls=0",
            "PUSHER_SETTINGS": json.dumps(more),
        }

    def start_web(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "demo.manage", "runserver", "--noreload", "--insecure"]
        with (self.directory / "web.log").open("ab") as log:
            self.web = subprocess.Popen(
                [*command, f"127.0.0.1:{self.port}"], env=self.environment, cwd=run.ROOT, stdout=log, stderr=log
            )
        wait_until_up(self.url)

    def shell(self, code: str) -> str:
        """Run code in another process of the site; return what it prints."""
        command = [sys.executable, "-W", "ignore", "-m", "demo.manage", "shell", "--no-imports", "-c", code]
        answer = subprocess.run(command, env=self.environment, cwd=run.ROOT, check=True, capture_output=True, text=True)
        return answer.stdout.strip()

    def share_tasks(self, *, is_on: bool) -> None:
        """Let every visitor see every task, or stop that."""
        path = self.directory / "shared"
        path.touch() if is_on else path.unlink()

    def log(self) -> str:
        """Return what the web server has written: its requests."""
        return (self.directory / "web.log").read_text()
