"""The tests' handlers on the channel layer, and the application that routes their channels."""

import asyncio
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from channels.consumer import AsyncConsumer, SyncConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

import telltale
from telltale.channels import TaskConsumer
from telltale.testing.runners import TaskFunctions, append_line


class Background(TaskConsumer):
    channel = "my-background-task"

    @telltale.tracked
    def count(self, log: str, steps: int, pause_s: float) -> None:
        TaskFunctions.count(log, steps, pause_s)

    @telltale.tracked
    def fail(self, log: str) -> None:
        TaskFunctions.fail(log)

    @telltale.tracked
    def crash(self, log: str) -> None:
        TaskFunctions.crash(log)

    @telltale.tracked
    def wait_for_file(self, log: str, file: str) -> None:
        TaskFunctions.wait_for_file(log, file)

    @telltale.tracked
    def catch_exceptions(self, log: str) -> None:
        TaskFunctions.catch_exceptions(log)

    @telltale.tracked
    async def count_async(self, log: str, steps: int) -> None:
        await TaskFunctions.count_async(log, steps)

    @telltale.tracked
    async def wait_for_file_async(self, log: str, file: str) -> None:
        await wait_for_file_async(log, file)

    @telltale.tracked
    def starts_a_child(self, log: str) -> None:
        telltale.enqueue(Background.count, log, 1, 0.0)

    @telltale.tracked(label="Import contacts", key=lambda upload_id, log="": f"upload-{upload_id}")
    def import_contacts(self, upload_id: int, log: str = "") -> None:
        append_line(log, f"import-{upload_id}")

    @telltale.tracked
    def exits(self, log: str) -> None:
        append_line(log, "exits")
        raise SystemExit(3)

    @telltale.tracked
    def answers(self, log: str, group: str) -> None:
        async_to_sync(self.channel_layer.group_send)(group, {"type": "answer"})
        append_line(log, "answers")

    def untracked(self, message: dict[str, Any]) -> None:
        append_line(message["log"], f"untracked-{message['number']}")

    async def untracked_async(self, message: dict[str, Any]) -> None:
        append_line(message["log"], f"untracked_async-{message['number']}")


class Special(Background):
    channel = "special-task"


class Unrouted(TaskConsumer):
    channel = "unrouted-task"

    @telltale.tracked
    def count(self, log: str) -> None:
        append_line(log, "unrouted")


class Misrouted(TaskConsumer):
    channel = "misrouted-task"

    @telltale.tracked
    def count(self, log: str) -> None:
        append_line(log, "misrouted")


class Plain(SyncConsumer):
    """A consumer of Channels' own."""

    def greet(self, message: dict[str, Any]) -> None:
        append_line(message["log"], f"plain-{message['number']}")

    def fail(self, message: dict[str, Any]) -> None:
        append_line(message["log"], "plain-fail")
        raise ZeroDivisionError


class PlainAsync(AsyncConsumer):
    async def greet(self, message: dict[str, Any]) -> None:
        append_line(message["log"], f"plain-async-{message['number']}")


async def wait_for_file_async(log: str, file: str) -> None:
    append_line(log, "wait_for_file_async")
    for _ in telltale.progress(iter(lambda: Path(file).exists(), True)):
        await asyncio.sleep(0.02)


application = ProtocolTypeRouter(
    {
        "channel": ChannelNameRouter(
            {
                "my-background-task": Background.as_asgi(),
                "special-task": Special.as_asgi(),
                "wrong-task": Misrouted.as_asgi(),
                "plain-task": Plain.as_asgi(),
                "plain-async-task": PlainAsync.as_asgi(),
            }
        )
    }
)
"""`unrouted-task` and `misrouted-task` are not there: that is tested too."""

# The contract's tasks
count, count_async, fail, crash = Background.count, Background.count_async, Background.fail, Background.crash
wait_for_file, catch_exceptions = Background.wait_for_file, Background.catch_exceptions
