"""A connection to one Redis server. redis-py makes it and signs in; then its socket is taken over.

From there on nothing blocks: bytes are read in large pieces and parsed by hiredis, which costs a tenth of
redis-py's own way. The one file that knows redis-py's insides, and those are one attribute: `_sock`.
"""

import ssl
from _socket import socket as PlainSocket  # gevent never replaces this one, so any thread may use it.
from collections.abc import Mapping
from typing import Any, Final

import hiredis
import redis

from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.redis.url import Node

CONNECT_S: Final = 2.0
"""So long at most takes each step of connecting: the connection itself, and each answer while signing in."""

READ_BYTES: Final = 131_072
"""Read at once."""

_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_MENDS: Final = {
    "no permissions": "Allow the user what docs/brokers.md lists.",
    "Authentication required": "Give user and password in the URL, percent-encoded.",
    "unknown command": "Use Redis 7 or newer for redis+cluster://.",
    "cluster support disabled": "Use redis:// for a server that is no cluster.",
}
"""A part of Redis' error → what to do."""


class LineLost(BrokerUnavailable):
    """A connection that was cut, or has gone silent. Nobody knows what became of what was under way."""


class Line:
    """A signed-in connection, for one thread at a time. Never blocks."""

    def __init__(self, taken: Any) -> None:
        """`taken`: a connected socket, with or without TLS, that is this line's alone."""
        self._socket = taken
        self._is_tls = isinstance(taken, ssl.SSLSocket)
        self._socket.setblocking(False)
        self._reader = hiredis.Reader()
        self._buffer: Any = bytearray(READ_BYTES)
        self._room = memoryview(self._buffer)
        self._unsent = b""
        self.has_more = False
        """Whether the last read left something behind, that may be read at once."""

    @property
    def is_behind(self) -> bool:
        """Whether some of what was to be sent is still here."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """To wait for what comes."""
        number: int = self._socket.fileno()
        return number

    def queue(self, data: bytes) -> None:
        """Have this sent by the next `send`."""
        self._unsent += data

    def send(self) -> None:
        """Send what is queued, as much as the kernel takes; the rest waits for the next call. Raises `LineLost`."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except _NOT_NOW:
                return
            except OSError as error:
                raise LineLost(f"The connection to Redis broke while sending: {error}.") from error
            self._unsent = self._unsent[sent:]

    def replies(self) -> list[Any]:
        """Whatever has come, at most some `READ_BYTES` of it. Errors of Redis are among it. Raises `LineLost`."""
        found: list[Any] = []
        size = self._receive()
        if not size:
            return found
        try:
            self._reader.feed(self._buffer, 0, size)
            while (reply := self._reader.gets()) is not False:
                found.append(reply)
        except hiredis.HiredisError as error:
            raise LineLost(f"What comes over the connection to Redis is not Redis' protocol: {error}.") from error
        return found

    def close(self) -> None:
        """Let go of the socket; of this process's copy, after a fork."""
        self._socket.close()

    def _receive(self) -> int:
        size = 0
        while size < READ_BYTES:
            try:
                got = self._socket.recv_into(self._room[size:])
            except _NOT_NOW:
                break
            except OSError as error:
                raise LineLost(f"The connection to Redis broke: {error}.") from error
            if not got:
                if size:
                    break
                raise LineLost("Redis closed the connection.")
            size += got
            # TLS comes in small records, some of them hidden from `select`: all must be read. Else one call is enough.
            if not self._is_tls:
                break
        self.has_more = size == READ_BYTES
        return size


def open_line(node: Node, options: Mapping[str, Any], hello: tuple[str, ...]) -> Line:
    """Connect, sign in, and see `hello` answered; blocks for some seconds at most. Raises `BrokerUnavailable`."""
    connection = _connection(node, options)
    try:
        _asked(connection, node, hello)
        return Line(_taken_from(connection))
    finally:
        connection.disconnect()


def ask(node: Node, options: Mapping[str, Any], command: tuple[str, ...]) -> Any:
    """The answer to one command, over a connection of its own. Blocks, raises, as `open_line` does."""
    connection = _connection(node, options)
    try:
        return _asked(connection, node, command)
    finally:
        connection.disconnect()


def _connection(node: Node, options: Mapping[str, Any]) -> Any:
    # Version 2 of the protocol: only lists, texts, numbers and errors, and nothing comes unasked.
    shared = {**options, "protocol": 2, "socket_timeout": CONNECT_S, "socket_connect_timeout": CONNECT_S}
    kind: Any
    if not node.port:
        kind = redis.UnixDomainSocketConnection
        return kind(path=node.host, **shared)
    kind = redis.SSLConnection if "ssl_check_hostname" in options else redis.Connection
    return kind(host=node.host, port=node.port, **shared)


def _asked(connection: Any, node: Node, command: tuple[str, ...]) -> Any:
    try:
        connection.connect()
        connection.send_command(*command)
        return connection.read_response()
    except redis.ResponseError as error:
        # It is answered, and allowed: only another server's business.
        if isinstance(error, redis.exceptions.MovedError) or str(error).startswith("MOVED"):
            return None
        raise unavailable(node, error) from error
    except (redis.RedisError, OSError, ValueError) as error:
        raise unavailable(node, error) from error


def unavailable(node: Node, error: object) -> BrokerUnavailable:
    """What to raise for an error of redis-py or Redis, with the mend if it is known."""
    where = f"{node.host}:{node.port}" if node.port else node.host
    return BrokerUnavailable(f"Redis at {where}: {with_mend(error)}")


def with_mend(error: object) -> str:
    """The words of Redis, and what to do about it if that is known."""
    said = f"{error}".rstrip(".")
    return f"{said}. {next((mend for part, mend in _MENDS.items() if part in said), '')}".rstrip()


def _taken_from(connection: Any) -> Any:
    """The connection's socket, of which redis-py knows nothing any more. All its answers have been read."""
    taken, connection._sock = connection._sock, None
    if isinstance(taken, ssl.SSLSocket):
        return taken
    return PlainSocket(fileno=taken.detach())
