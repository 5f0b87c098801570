"""Writing through any server's `send`: one that finishes at once, one that waits, raises, never finishes, is cancelled.

The follower here keeps a list of what it is told; connection and farewell are the real ones.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.transports import asgi
from telltale.transports.asgi import AsgiOutlet
from telltale.transports.websocket import _goodbye, _message


class Client:
    """A server's coroutine for one client, the outlet in it, and what became of both."""

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self.connection = Connection(opened_at=0.0)
        self.told: list[str] = []
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: list[str] = []
        self.send = send
        self.is_open = asyncio.Event()
        self.task = asyncio.ensure_future(self.serve())

    async def serve(self) -> str:
        self.outlet = AsgiOutlet(self.send, _message, _goodbye)
        try:
            self.outlet.open(self)  # type: ignore[arg-type]
            self.is_open.set()
            while (event := await self.outlet.listen(self.receive))["type"] == "websocket.receive":
                self.heard.append(event["text"])
            return str(event["type"])
        finally:
            self.outlet.close()

    async def receive(self) -> dict[str, Any]:
        return await self.events.get()

    def block(self) -> None:
        self.told.append("block")

    def unblock(self) -> None:
        self.told.append("unblock")

    def close(self, reason: reasons.Reason) -> None:
        self.connection.close(reason)
        self.outlet.end()

    async def ends(self) -> str:
        """What its coroutine was ended by; nothing of a cancellation is left in it."""
        said = await asyncio.wait_for(asyncio.shield(self.task), 5)
        assert self.task.cancelling() == 0
        return said


class Line:
    """A server's `send`."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.raises: BaseException | None = None
        self.was_cancelled = False

    async def send(self, message: Any) -> None:
        if self.raises is not None:
            raise self.raises
        try:
            while not self.takes.is_set():
                await self.takes.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        self.sent.append(message.get("text") or message["type"])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "LINGER_S", 0.2)


def scene(story: Callable[[Client, Line], Awaitable[None]]) -> None:
    """Play it on a loop of its own, on which nothing may be left."""

    async def play() -> None:
        line = Line()
        client = Client(line.send)
        await client.is_open.wait()
        await asyncio.sleep(0)
        try:
            await story(client, line)
        finally:
            client.task.cancel()
            await asyncio.gather(client.task, return_exceptions=True)
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(play(), debug=True)


def test_what_is_sent_at_once_blocks_nobody_and_makes_no_task() -> None:
    async def story(client: Client, line: Line) -> None:
        tasks = asyncio.all_tasks()
        for n in range(3):
            client.outlet.write(_message(str(n)))
        assert line.sent == ["0", "1", "2"]
        assert client.told == []
        assert asyncio.all_tasks() == tasks

    scene(story)


def test_what_has_to_wait_blocks_the_follower_until_it_is_through() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.outlet.write(_message("late"))
        assert (client.told, line.sent) == (["block"], [])
        line.takes.set()
        await asyncio.sleep(0.01)
        assert (client.told, line.sent) == (["block", "unblock"], ["late"])

    scene(story)


def test_a_server_that_only_yields_is_waited_for_too() -> None:
    async def story(client: Client, line: Line) -> None:
        async def yields(message: Any) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            line.sent.append(message["text"])

        client.outlet._send = yields
        client.outlet.write(_message("late"))
        assert client.told == ["block"]
        await asyncio.sleep(0.01)
        assert (client.told, line.sent) == (["block", "unblock"], ["late"])

    scene(story)


def test_an_awaitable_that_is_no_coroutine_will_do() -> None:
    async def story(client: Client, line: Line) -> None:
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        client.outlet._send = lambda message: sent
        client.outlet.write(_message("later"))
        assert client.told == ["block"]
        sent.set_result(None)
        await asyncio.sleep(0.01)
        assert client.told == ["block", "unblock"]

    scene(story)


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("after close"), asyncio.CancelledError()])
def test_a_server_that_raises_has_its_client_let_go_of(error: BaseException) -> None:
    async def story(client: Client, line: Line) -> None:
        line.raises = error
        client.outlet.write(_message("lost"))
        assert await client.ends() == "over"
        client.outlet.write(_message("more"))
        assert client.told == line.sent == []

    scene(story)


def test_a_server_that_raises_before_it_makes_a_coroutine_is_no_different() -> None:
    async def story(client: Client, line: Line) -> None:
        def refuses(message: Any) -> Awaitable[None]:
            raise RuntimeError("The transport is closed.")

        client.outlet._send = refuses
        client.outlet.write(_message("lost"))
        assert await client.ends() == "over"

    scene(story)


def test_a_server_that_raises_while_it_is_waited_for_has_its_client_let_go_of() -> None:
    async def story(client: Client, line: Line) -> None:
        async def breaks(message: Any) -> None:
            await line.takes.wait()
            raise OSError("gone")

        client.outlet._send = breaks
        line.takes.clear()
        client.outlet.write(_message("lost"))
        line.takes.set()
        assert await client.ends() == "over"
        assert client.told == ["block"]

    scene(story)


def test_who_is_ended_hears_why_and_may_still_go_by_himself() -> None:
    async def story(client: Client, line: Line) -> None:
        client.close(reasons.DRAIN)
        assert [*map(str, line.sent)] == [client.connection.farewell(), "websocket.close"]
        client.events.put_nowait({"type": "websocket.disconnect"})
        assert await client.ends() == "websocket.disconnect"

    scene(story)


def test_who_is_ended_and_does_not_go_is_let_go_of() -> None:
    async def story(client: Client, line: Line) -> None:
        client.close(reasons.DRAIN)
        assert await client.ends() == "over"

    scene(story)


def test_a_farewell_that_has_to_wait_is_sent_in_its_order() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.close(reasons.EXPIRED)
        assert line.sent == []
        line.takes.set()
        await asyncio.sleep(0.01)
        assert line.sent == [client.connection.farewell(), "websocket.close"]
        assert "unblock" not in client.told

    scene(story)


def test_a_farewell_waits_for_what_is_on_its_way() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.outlet.write(_message("first"))
        client.close(reasons.DRAIN)
        assert line.sent == []
        line.takes.set()
        await asyncio.sleep(0.01)
        assert line.sent == ["first", client.connection.farewell(), "websocket.close"]

    scene(story)


def test_a_farewell_that_never_goes_is_given_up() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.close(reasons.EXPIRED)
        assert await client.ends() == "over"
        await asyncio.sleep(0)
        assert line.was_cancelled

    scene(story)


def test_who_is_too_slow_is_cut_without_a_word() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.outlet.write(_message("stuck"))
        await asyncio.sleep(0)
        client.close(reasons.SLOW)
        assert await client.ends() == "over"
        assert line.was_cancelled
        assert line.sent == []

    scene(story)


class Wrong(list[str]):
    """What is heard by one who ends whoever says something."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client

    def append(self, _text: str) -> None:
        self.client.close(reasons.MALFORMED)


def test_a_line_that_is_cut_before_it_was_waited_for_leaves_nothing_behind() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.outlet.write(_message("stuck"))
        client.close(reasons.SLOW)
        assert await client.ends() == "over"
        assert line.sent == []

    scene(story)


def test_who_ends_itself_by_what_it_says_while_its_line_is_blocked_is_cut_too() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.outlet.write(_message("stuck"))
        client.heard = Wrong(client)
        client.events.put_nowait({"type": "websocket.receive", "text": "nonsense"})
        assert await client.ends() == "over"

    scene(story)


def test_a_server_that_answers_our_cancellation_by_an_event_finds_its_task_clean() -> None:
    async def story(client: Client, line: Line) -> None:
        async def receive() -> dict[str, Any]:
            try:
                return await client.events.get()
            except asyncio.CancelledError:
                return {"type": "websocket.disconnect"}

        client.receive = receive  # type: ignore[method-assign]
        client.events.put_nowait({"type": "websocket.receive", "text": "so that the new one is used"})
        await asyncio.sleep(0.01)
        line.raises = OSError("gone")
        client.outlet.write(_message("lost"))
        assert await client.ends() == "websocket.disconnect"

    scene(story)


def test_a_server_that_cancels_its_client_is_obeyed_and_the_client_hears_why() -> None:
    async def story(client: Client, line: Line) -> None:
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        assert client.connection.closed is reasons.DRAIN
        assert line.sent[-1] == "websocket.close"

    scene(story)


def test_our_cancellation_does_not_hide_the_servers_own() -> None:
    async def story(client: Client, line: Line) -> None:
        line.takes.clear()
        client.outlet.write(_message("stuck"))
        client.close(reasons.SLOW)
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task

    scene(story)


def test_a_client_that_has_gone_meanwhile_is_not_cancelled_afterwards() -> None:
    async def story(client: Client, line: Line) -> None:
        client.events.put_nowait({"type": "websocket.disconnect"})
        assert await client.ends() == "websocket.disconnect"
        client.outlet.write(_message("nobody"))
        client.close(reasons.SLOW)
        await asyncio.sleep(0.3)
        assert line.sent == []
        assert client.task.cancelling() == 0

    scene(story)
