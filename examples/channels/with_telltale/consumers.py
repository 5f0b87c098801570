"""The task that builds the report in a worker, and a socket of the project's own that follows it."""

import time

from channels.generic.websocket import AsyncJsonWebsocketConsumer

import telltale
from telltale.channels import FollowMixin, TaskConsumer
from telltale.core.snapshot import Snapshot
from telltale.core.wire import Notice

PAUSE_S = 0.2
"""How long one page of the report takes."""


class ReportTask(TaskConsumer):
    """The background task. It runs in `manage.py telltale worker --channels telltale-report`."""

    channel = "telltale-report"

    @telltale.tracked(label="Build the report")
    def build_report(self, pages: int) -> None:
        """Build the report. Its pages and its end need no further code."""
        for _ in telltale.progress(range(pages), message="Writing pages", unit="pages"):
            time.sleep(PAUSE_S)


class ReportSocket(FollowMixin, AsyncJsonWebsocketConsumer):
    """A socket for pages with a script of their own: the same messages as those of the version by hand."""

    async def connect(self) -> None:
        """Follow the user and the process in the path. Telltale checks both, and denies the connection if it must."""
        process = self.scope["url_route"]["kwargs"]["process"]
        await self.follow(f"task:{process}", f"user:{self.scope['user'].pk}")
        await self.accept()

    async def task_changed(self, snapshot: Snapshot) -> None:
        """Move the bar."""
        await self.send_json({"share": snapshot.progress.fraction})

    async def notice(self, notice: Notice) -> None:
        """Show a toast, unless another page of the user has shown it."""
        if await self.take_notice(notice):
            await self.send_json({"text": notice.text})
