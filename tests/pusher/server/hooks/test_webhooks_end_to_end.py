"""Webhooks of a real stand-in server: a client connects, a receiver hears of it, also when the server stops."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pusher
import pytest
from websockets.sync.client import ClientConnection, connect

from telltale.pusher.protocol.signatures import auth_token, subscription_text
from telltale.testing.brokers import TIMEOUT_S, assert_eventually
from tests.pusher.server.hooks.webhook_receiver import Receiver
from tests.servers import await_text, free_port, spawn

pytestmark = pytest.mark.service

KEY, SECRET = "app-key", "app-secret"


@pytest.fixture
def server(receiver: Receiver, tmp_path: Path) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """The stand-in's port and process; its webhooks go to `receiver`."""
    port, log = free_port(), tmp_path / "server.log"
    command = [sys.executable, "-m", "telltale.pusher", "--port", str(port), "--webhook", receiver.url]
    command += ["--app-id", "1", "--key", KEY, "--secret", SECRET]
    with log.open("wb") as out:
        process = spawn(command, {}, out)
    try:
        await_text(log, f":{port}", process)
        yield port, process
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def socket_id_of(client: ClientConnection) -> str:
    socket_id: str = json.loads(json.loads(client.recv(TIMEOUT_S))["data"])["socket_id"]
    return socket_id


def send(client: ClientConnection, event: str, **fields: Any) -> None:
    client.send(json.dumps({"event": event, **fields}))


def test_a_receiver_hears_of_channels_members_and_client_events(
    receiver: Receiver, server: tuple[int, "subprocess.Popen[bytes]"]
) -> None:
    """P66, P67, P68."""
    port, _process = server
    with connect(f"ws://127.0.0.1:{port}/app/{KEY}?protocol=7") as client:
        socket_id = socket_id_of(client)
        member = json.dumps({"user_id": "ada"})
        auth = auth_token(KEY, SECRET, subscription_text(socket_id, "presence-room", member))
        send(client, "pusher:subscribe", data={"channel": "presence-room", "channel_data": member, "auth": auth})
        send(client, "client-x", channel="presence-room", data={"a": 1})
        assert_eventually(lambda: len(receiver.events) == 3, "the client's events have arrived")
    assert_eventually(lambda: len(receiver.events) == 5, "the client's end has arrived")
    ada = {"channel": "presence-room", "user_id": "ada"}
    assert receiver.events == [
        {"name": "channel_occupied", "channel": "presence-room"},
        {"name": "member_added", **ada},
        {"name": "client_event", "event": "client-x", "data": '{"a":1}', "socket_id": socket_id, **ada},
        {"name": "member_removed", **ada},
        {"name": "channel_vacated", "channel": "presence-room"},
    ]
    library = pusher.Pusher(app_id="1", key=KEY, secret=SECRET)
    for request in receiver.requests:
        signature = request.headers["X-Pusher-Signature"]
        assert library.validate_webhook(request.headers["X-Pusher-Key"], signature, request.body.decode())


def test_a_server_that_stops_sends_what_is_left(
    receiver: Receiver, server: tuple[int, "subprocess.Popen[bytes]"]
) -> None:
    port, process = server
    with connect(f"ws://127.0.0.1:{port}/app/{KEY}?protocol=7") as client:
        socket_id_of(client)
        send(client, "pusher:subscribe", data={"channel": "room"})
        client.recv(TIMEOUT_S)
        process.terminate()
        process.wait(TIMEOUT_S)
    room = {"channel": "room"}
    assert receiver.events == [{"name": "channel_occupied", **room}, {"name": "channel_vacated", **room}]
