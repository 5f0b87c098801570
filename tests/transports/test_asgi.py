"""Writing through a server's `send`: one that finishes at once, waits, raises, never finishes, or is cancelled.

The client here records the calls; the connection and its last messages are the real ones.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from telltale.core import reasons
from telltale.core.connection import Connection
from telltale.transports import asgi
from telltale.transports.asgi import AsgiOutlet
from telltale.transports.websocket import _last_messages, _message


class Client:
    """A server's coroutine for one client, with its outlet; records what is called and received."""

    def __init__(self, send: Callable[[Any], Awaitable[None]]) -> None:
        self.connection = Connection(opened_at=0.0)
        self.calls: list[str] = []
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.received: list[str] = []
        self.send = send
        self.is_open = asyncio.Event()
        self.task = asyncio.ensure_future(self.serve())

    async def serve(self) -> str:
        self.outlet = AsgiOutlet(self.send, _message, _last_messages)
        try:
            self.outlet.open(self)  # type: ignore[arg-type]
            self.is_open.set()
            while (event := await self.outlet.listen(self.receive))["type"] == "websocket.receive":
                self.received.append(event["text"])
            return str(event["type"])
        finally:
            self.outlet.close()

    async def receive(self) -> dict[str, Any]:
        return await self.events.get()

    def block(self) -> None:
        self.calls.append("block")

    def unblock(self) -> None:
        self.calls.append("unblock")

    def close(self, reason: reasons.Reason) -> None:
        self.connection.close(reason)
        self.outlet.end()

    async def result(self) -> str:
        """Return the type of the last event; the task must have no cancellation left."""
        event_type = await asyncio.wait_for(asyncio.shield(self.task), 5)
        assert self.task.cancelling() == 0
        return event_type


class Line:
    """A server's `send`."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.accepts = asyncio.Event()
        self.accepts.set()
        self.raises: BaseException | None = None
        self.was_cancelled = False

    async def send(self, message: Any) -> None:
        if self.raises is not None:
            raise self.raises
        try:
            while not self.accepts.is_set():
                await self.accepts.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        self.sent.append(message.get("text") or message["type"])


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "LINGER_S", 0.2)


async def settle() -> None:
    """Let everything run that does not wait for time."""
    for _ in range(20):
        await asyncio.sleep(0)


def run(scenario: Callable[[Client, Line], Awaitable[None]]) -> None:
    """Run the scenario on an event loop of its own; no task may be left."""

    async def run_all() -> None:
        line = Line()
        client = Client(line.send)
        await client.is_open.wait()
        await asyncio.sleep(0)
        try:
            await scenario(client, line)
        finally:
            client.task.cancel()
            await asyncio.gather(client.task, return_exceptions=True)
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run_all(), debug=True)


def test_a_message_that_is_sent_at_once_blocks_no_client_and_needs_no_task() -> None:
    async def scenario(client: Client, line: Line) -> None:
        tasks = asyncio.all_tasks()
        for n in range(3):
            client.outlet.write(_message(str(n)))
        assert line.sent == ["0", "1", "2"]
        assert client.calls == []
        assert asyncio.all_tasks() == tasks

    run(scenario)


def test_a_message_that_has_to_wait_blocks_the_client_until_it_is_sent() -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.outlet.write(_message("late"))
        assert (client.calls, line.sent) == (["block"], [])
        line.accepts.set()
        await settle()
        assert (client.calls, line.sent) == (["block", "unblock"], ["late"])

    run(scenario)


def test_a_send_that_yields_to_the_loop_is_waited_for() -> None:
    async def scenario(client: Client, line: Line) -> None:
        async def yields(message: Any) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            line.sent.append(message["text"])

        client.outlet._send = yields
        client.outlet.write(_message("late"))
        assert client.calls == ["block"]
        await settle()
        assert (client.calls, line.sent) == (["block", "unblock"], ["late"])

    run(scenario)


def test_a_send_may_return_an_awaitable_that_is_no_coroutine() -> None:
    async def scenario(client: Client, line: Line) -> None:
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        client.outlet._send = lambda message: sent
        client.outlet.write(_message("later"))
        assert client.calls == ["block"]
        sent.set_result(None)
        await settle()
        assert client.calls == ["block", "unblock"]

    run(scenario)


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("after close"), asyncio.CancelledError()])
def test_a_send_that_raises_ends_the_client(error: BaseException) -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.raises = error
        client.outlet.write(_message("lost"))
        assert await client.result() == "finished"
        client.outlet.write(_message("more"))
        assert client.calls == line.sent == []

    run(scenario)


def test_a_send_that_raises_before_it_returns_a_coroutine_ends_the_client() -> None:
    async def scenario(client: Client, line: Line) -> None:
        def refuses(message: Any) -> Awaitable[None]:
            raise RuntimeError("The transport is closed.")

        client.outlet._send = refuses
        client.outlet.write(_message("lost"))
        assert await client.result() == "finished"

    run(scenario)


def test_a_send_that_raises_while_it_is_waited_for_ends_the_client() -> None:
    async def scenario(client: Client, line: Line) -> None:
        async def breaks(message: Any) -> None:
            await line.accepts.wait()
            raise OSError("gone")

        client.outlet._send = breaks
        line.accepts.clear()
        client.outlet.write(_message("lost"))
        line.accepts.set()
        assert await client.result() == "finished"
        assert client.calls == ["block"]

    run(scenario)


def test_a_closed_client_receives_bye_and_may_disconnect_itself() -> None:
    async def scenario(client: Client, line: Line) -> None:
        client.close(reasons.DRAIN)
        assert [*map(str, line.sent)] == [client.connection.bye(), "websocket.close"]
        client.events.put_nowait({"type": "websocket.disconnect"})
        assert await client.result() == "websocket.disconnect"

    run(scenario)


def test_a_closed_client_that_does_not_disconnect_is_ended_after_a_while(short_linger: None) -> None:
    async def scenario(client: Client, line: Line) -> None:
        client.close(reasons.DRAIN)
        assert await client.result() == "finished"

    run(scenario)


def test_last_messages_that_have_to_wait_are_sent_in_order() -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.close(reasons.EXPIRED)
        assert line.sent == []
        line.accepts.set()
        await settle()
        assert line.sent == [client.connection.bye(), "websocket.close"]
        assert "unblock" not in client.calls

    run(scenario)


def test_last_messages_are_sent_after_the_message_that_waits() -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.outlet.write(_message("first"))
        client.close(reasons.DRAIN)
        assert line.sent == []
        line.accepts.set()
        await settle()
        assert line.sent == ["first", client.connection.bye(), "websocket.close"]

    run(scenario)


def test_last_messages_that_are_never_sent_are_given_up(short_linger: None) -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.close(reasons.EXPIRED)
        assert await client.result() == "finished"
        await asyncio.sleep(0)
        assert line.was_cancelled

    run(scenario)


def test_a_client_that_is_too_slow_is_cut_off_without_last_messages() -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.outlet.write(_message("stuck"))
        await asyncio.sleep(0)
        client.close(reasons.SLOW)
        assert await client.result() == "finished"
        assert line.was_cancelled
        assert line.sent == []

    run(scenario)


class ClosingList(list[str]):
    """Received messages; each one closes the client."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self.client = client

    def append(self, _text: str) -> None:
        self.client.close(reasons.MALFORMED)


def test_a_send_that_is_cancelled_before_it_was_waited_for_leaves_nothing() -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.outlet.write(_message("stuck"))
        client.close(reasons.SLOW)
        assert await client.result() == "finished"
        assert line.sent == []

    run(scenario)


def test_a_blocked_client_that_sends_a_malformed_message_is_ended(short_linger: None) -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.outlet.write(_message("stuck"))
        client.received = ClosingList(client)
        client.events.put_nowait({"type": "websocket.receive", "text": "nonsense"})
        assert await client.result() == "finished"

    run(scenario)


def test_a_server_that_turns_the_cancellation_into_an_event_has_no_cancellation_left() -> None:
    async def scenario(client: Client, line: Line) -> None:
        async def receive() -> dict[str, Any]:
            try:
                return await client.events.get()
            except asyncio.CancelledError:
                return {"type": "websocket.disconnect"}

        client.receive = receive  # type: ignore[method-assign]
        client.events.put_nowait({"type": "websocket.receive", "text": "so that the new one is used"})
        await settle()
        line.raises = OSError("gone")
        client.outlet.write(_message("lost"))
        assert await client.result() == "websocket.disconnect"

    run(scenario)


def test_a_cancellation_by_the_server_passes_through_and_the_client_receives_bye() -> None:
    async def scenario(client: Client, line: Line) -> None:
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        assert client.connection.closed is reasons.DRAIN
        assert line.sent[-1] == "websocket.close"

    run(scenario)


def test_the_outlets_cancellation_does_not_hide_the_servers_own() -> None:
    async def scenario(client: Client, line: Line) -> None:
        line.accepts.clear()
        client.outlet.write(_message("stuck"))
        client.close(reasons.SLOW)
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task

    run(scenario)


def test_a_client_that_has_disconnected_is_not_cancelled_later(short_linger: None) -> None:
    async def scenario(client: Client, line: Line) -> None:
        client.events.put_nowait({"type": "websocket.disconnect"})
        assert await client.result() == "websocket.disconnect"
        client.outlet.write(_message("late"))
        client.close(reasons.SLOW)
        await asyncio.sleep(0.3)
        assert line.sent == []
        assert client.task.cancelling() == 0

    run(scenario)
