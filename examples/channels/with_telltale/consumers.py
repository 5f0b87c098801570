"""The task that builds the report in a worker, and a socket of the project's own that follows it."""

import time
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

import telltale
from telltale.channels import FollowMixin, TaskConsumer

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
        """Accept, then follow the process in the path and the user; Telltale checks the permission of each."""
        await self.accept()
        await self.follow(f"task:{self.scope['url_route']['kwargs']['process']}")
        await self.follow(f"user:{self.scope['user'].pk}")

    async def task_changed(self, snapshot: Any) -> None:
        """Move the bar."""
        await self.send_json({"share": snapshot.progress.fraction})

    async def notice(self, notice: Any) -> None:
        """Show a toast."""
        await self.send_json({"text": notice.text})
