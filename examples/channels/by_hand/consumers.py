"""The socket of a report's page, and the task that builds the report in a worker."""

import time
from typing import Any

from asgiref.sync import async_to_sync
from channels.consumer import SyncConsumer
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer

from by_hand.groups import process_group, user_group

PAGES = 40
PAUSE_S = 0.2
"""How long one page of the report takes."""


class ReportSocket(AsyncJsonWebsocketConsumer):
    """One browser page: it joins the groups of its user and its process, and starts the task when asked."""

    async def connect(self) -> None:
        """Accept signed-in users, and join their groups."""
        user = self.scope["user"]
        if not user.is_authenticated:
            return await self.close()
        self.process = str(self.scope["url_route"]["kwargs"]["process"])
        self.joined = [user_group(user.pk), process_group(self.process)]
        for group in self.joined:
            await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()

    async def receive_json(self, content: Any, **_: Any) -> None:
        """Start the task when the page sends `{"start": true}`."""
        if content == {"start": True}:
            user_id = self.scope["user"].pk
            message = {"type": "build.report", "process": self.process, "user_id": user_id, "pages": PAGES}
            await self.channel_layer.send("by-hand-report", message)

    async def disconnect(self, code: int) -> None:
        """Leave the groups; a connection that was refused has joined none."""
        for group in getattr(self, "joined", []):
            await self.channel_layer.group_discard(group, self.channel_name)

    async def status(self, message: dict[str, Any]) -> None:
        """Pass a status message of the task on to the page."""
        await self.send_json(message["content"])


class ReportTask(SyncConsumer):
    """The background task. It runs in `manage.py runworker by-hand-report`."""

    def build_report(self, message: dict[str, Any]) -> None:
        """Build the report, and tell its pages; at the end tell all pages of the user."""
        group, total = process_group(message["process"]), message["pages"]
        send_status(group, text="The report has begun.", share=0)
        for done in range(1, total + 1):
            time.sleep(PAUSE_S)
            if done % 10 == 0:
                send_status(group, text=f"{done} of {total} pages", share=done / total)
        send_status(user_group(message["user_id"]), text="Your report is ready.", share=1)


def send_status(group: str, **content: Any) -> None:
    """Send a status message to all open pages of a group."""
    async_to_sync(get_channel_layer().group_send)(group, {"type": "status", "content": content})
