"""Drives asyncpusher, a Python client of the WebSocket protocol, with commands and events as lines of JSON."""

import asyncio
import json
import sys
from typing import Any

from asyncpusher import Pusher
from pusher import Pusher as ServerLibrary

clients: dict[str, Pusher] = {}


def write(message: dict[str, Any]) -> None:
    """Write one line; the tests read it as JSON."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def signer(key: str, secret: str, user: dict[str, Any] | None) -> Any:
    """Return an authenticator that signs as a site's auth endpoint would, by the official server library."""
    library = ServerLibrary("1", key, secret)

    async def authenticate(data: dict[str, str]) -> dict[str, str]:
        member = user if data["channel_name"].startswith("presence-") else None
        return library.authenticate(data["channel_name"], data["socket_id"], member)

    return authenticate


async def connect(client: str, key: str, host: str, port: int, secret: str = "", user: Any = None) -> str:
    authenticator = signer(key, secret, user)
    clients[client] = Pusher(
        key, secure=False, custom_host=host, custom_port=port, channel_authenticator=authenticator, auto_sub=True
    )
    await clients[client].connect()
    return str(clients[client].connection.socket_id)


async def subscribe(client: str, channel: str, events: list[str]) -> None:
    subscribed = await clients[client].subscribe(channel)
    for event in events:
        subscribed.bind(event, reporter(client, channel, event))
    is_subscribed = asyncio.Event()

    async def succeeded(_: Any) -> None:
        is_subscribed.set()

    subscribed.bind("pusher_internal:subscription_succeeded", succeeded)
    await is_subscribed.wait()


def reporter(client: str, channel: str, event: str) -> Any:
    async def report(data: Any) -> None:
        write({"client": client, "kind": "channel", "channel": channel, "event": event, "data": data})

    return report


async def trigger(client: str, channel: str, event: str, data: Any) -> None:
    await clients[client].channels[channel].trigger({"event": event, "data": data})


async def unsubscribe(client: str, channel: str) -> None:
    await clients[client].unsubscribe(channel)


async def close(client: str) -> None:
    await clients.pop(client).disconnect()


COMMANDS = {f.__name__: f for f in (connect, subscribe, unsubscribe, trigger, close)}


async def run(line: str) -> None:
    message = json.loads(line)
    call, command = message.pop("call"), message.pop("command")
    try:
        write({"call": call, "value": await COMMANDS[command](**message)})
    except Exception as error:
        write({"call": call, "error": {"name": type(error).__name__, "message": str(error)}})


async def main() -> None:
    """Run commands until the input ends."""
    running = set()
    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(run(line))
        running.add(task)
        task.add_done_callback(running.discard)


if __name__ == "__main__":
    asyncio.run(main())
