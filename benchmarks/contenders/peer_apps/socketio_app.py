"""python-socketio with its Redis manager. Each topic is a room.

Run by uvicorn. `python -m benchmarks.contenders.peer_apps.socketio_app TOPIC TEXT` publishes with an emitter that only
writes.
"""

import os
import sys
from typing import Any

import socketio

manager = socketio.AsyncRedisManager(os.environ["BENCH_REDIS"])
server = socketio.AsyncServer(async_mode="asgi", client_manager=manager, cors_allowed_origins="*")
app = socketio.ASGIApp(server)


@server.event
async def connect(sid: str, environ: dict[str, Any]) -> None:
    """Enter the room that the address names as `room=…`."""
    await server.enter_room(sid, environ["QUERY_STRING"].rsplit("room=", 1)[1])


if __name__ == "__main__":
    emitter = socketio.RedisManager(os.environ["BENCH_REDIS"], write_only=True)
    emitter.emit("update", sys.argv[2], room=sys.argv[1])
