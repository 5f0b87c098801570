"""A connection to one Redis server. redis-py connects and signs in; then its socket is taken over.

From then on nothing blocks: bytes are read in large pieces and parsed by hiredis, at a tenth of redis-py's own
cost. Only this module uses a private attribute of redis-py: `_sock`.
"""

import ssl
from _socket import socket as PlainSocket  # gevent never replaces this one, so any thread may use it.
from collections.abc import Mapping
from typing import Any, Final

import hiredis
import redis

from telltale.brokers.base import BrokerUnavailable
from telltale.brokers.redis.address import Node

CONNECT_TIMEOUT_S: Final = 2.0
"""How long each step of connecting may take: the connection itself, and each answer while signing in."""

READ_BYTES: Final = 131_072
"""The most bytes that one call of `replies` reads."""

_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_ADVICE: Final = {
    "no permissions": "Allow the user what docs/brokers.md lists.",
    "Authentication required": "Give user and password in the URL, percent-encoded.",
    "unknown command": "Use Redis 7 or newer for redis+cluster://.",
    "cluster support disabled": "Use redis:// for a server that is no cluster.",
}
"""A part of Redis' error → what to do."""


class ConnectionLost(BrokerUnavailable):
    """A connection broke, or its server is silent. Commands that are unanswered may or may not have been done."""


class RedisConnection:
    """A signed-in connection, for one thread at a time. Never blocks."""

    def __init__(self, connected: Any) -> None:
        """`connected`: a connected socket, with or without TLS, that nothing else uses."""
        self._socket = connected
        self._is_tls = isinstance(connected, ssl.SSLSocket)
        self._socket.setblocking(False)
        self._reader = hiredis.Reader()
        self._buffer: Any = bytearray(READ_BYTES)
        self._view = memoryview(self._buffer)
        self._unsent = b""
        self.may_have_more = False
        """Whether the last read filled the buffer, so that more may be readable at once."""

    @property
    def has_unsent(self) -> bool:
        """Whether the kernel has not yet taken all queued bytes."""
        return bool(self._unsent)

    def fileno(self) -> int:
        """The descriptor that becomes readable when something arrives."""
        number: int = self._socket.fileno()
        return number

    def queue(self, data: bytes) -> None:
        """Queue bytes for the next `send`."""
        self._unsent += data

    def send(self) -> None:
        """Send as many queued bytes as the kernel takes; the rest stays queued. Raises `ConnectionLost`."""
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except _WOULD_BLOCK:
                return
            except OSError as error:
                raise ConnectionLost(f"The connection to Redis broke while sending: {error}.") from error
            self._unsent = self._unsent[sent:]

    def replies(self) -> list[Any]:
        """The replies that have arrived, in about `READ_BYTES`, also Redis' errors. Raises `ConnectionLost`."""
        replies: list[Any] = []
        size = self._receive()
        if not size:
            return replies
        try:
            self._reader.feed(self._buffer, 0, size)
            while (reply := self._reader.gets()) is not False:
                replies.append(reply)
        except hiredis.HiredisError as error:
            raise ConnectionLost(f"The server at the other end does not speak Redis' protocol: {error}.") from error
        return replies

    def close(self) -> None:
        """Close the socket; after a fork, only this process's copy."""
        self._socket.close()

    def _receive(self) -> int:
        size = 0
        while size < READ_BYTES:
            try:
                count = self._socket.recv_into(self._view[size:])
            except _WOULD_BLOCK:
                break
            except OSError as error:
                raise ConnectionLost(f"The connection to Redis broke: {error}.") from error
            if not count:
                if size:
                    break
                raise ConnectionLost("Redis closed the connection.")
            size += count
            # TLS arrives in small records, and `select` does not see those already decrypted: read them all.
            # Without TLS one call is enough.
            if not self._is_tls:
                break
        self.may_have_more = size == READ_BYTES
        return size


def open_connection(node: Node, options: Mapping[str, Any], check: tuple[str, ...]) -> RedisConnection:
    """Connect, sign in, and run the command `check`; blocks for some seconds at most. Raises `BrokerUnavailable`."""
    connection = _redis_py_connection(node, options)
    try:
        _run(connection, node, check)
        return RedisConnection(_take_socket(connection))
    finally:
        connection.disconnect()


def run_command(node: Node, options: Mapping[str, Any], command: tuple[str, ...]) -> Any:
    """The answer to one command, over a new connection. Blocks and raises as `open_connection` does."""
    connection = _redis_py_connection(node, options)
    try:
        return _run(connection, node, command)
    finally:
        connection.disconnect()


def _redis_py_connection(node: Node, options: Mapping[str, Any]) -> Any:
    # Version 2 of the protocol: replies are lists, texts, numbers and errors only, and none comes unasked.
    timeouts = {"socket_timeout": CONNECT_TIMEOUT_S, "socket_connect_timeout": CONNECT_TIMEOUT_S}
    parameters = {**options, **timeouts, "protocol": 2}
    connection_class: Any
    if not node.port:
        connection_class = redis.UnixDomainSocketConnection
        return connection_class(path=node.host, **parameters)
    connection_class = redis.SSLConnection if "ssl_check_hostname" in options else redis.Connection
    return connection_class(host=node.host, port=node.port, **parameters)


def _run(connection: Any, node: Node, command: tuple[str, ...]) -> Any:
    try:
        connection.connect()
        connection.send_command(*command)
        return connection.read_response()
    except redis.ResponseError as error:
        # The command is allowed; another server of the cluster has its channel.
        if isinstance(error, redis.exceptions.MovedError) or str(error).startswith("MOVED"):
            return None
        raise unavailable(node, error) from error
    except (redis.RedisError, OSError, ValueError) as error:
        raise unavailable(node, error) from error


def unavailable(node: Node, error: object) -> BrokerUnavailable:
    """The exception for an error of redis-py or Redis, with advice if there is any."""
    where = f"{node.host}:{node.port}" if node.port else node.host
    return BrokerUnavailable(f"Redis at {where}: {with_advice(error)}")


def with_advice(error: object) -> str:
    """The error's text, and what to do about it if that is known."""
    text = f"{error}".rstrip(".")
    return f"{text}. {next((advice for part, advice in _ADVICE.items() if part in text), '')}".rstrip()


def _take_socket(connection: Any) -> Any:
    """The connection's socket, which redis-py forgets. All its answers have been read."""
    taken, connection._sock = connection._sock, None
    if isinstance(taken, ssl.SSLSocket):
        return taken
    return PlainSocket(fileno=taken.detach())
