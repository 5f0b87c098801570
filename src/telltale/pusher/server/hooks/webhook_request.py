"""One webhook target's address, and requests to it over a connection that is kept open.

Each request has one time limit for all of its steps, so a server that sends its answer byte by byte is given up like
one that sends nothing. Redirects are not followed and no proxy is used: the address is the one that the site set.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import quote, urlsplit

ANSWER_BYTES: Final = 65_536
"""A connection whose answer is longer is closed instead of being read to the end."""

_STALE: Final = (ConnectionError, ssl.SSLError, http.client.CannotSendRequest)
"""Errors of a kept connection that the target has closed meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a target listens."""

    is_tls: bool
    host: str
    port: int
    path: str
    """With its query, percent-encoded."""
    shown: str
    """For logs: without the query, which may hold a secret."""


def address_of(url: str) -> Address:
    """Return the address of an http or https URL; raises `ValueError` with the mend."""
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"The webhook's URL is {shown!r}: write http:// or https://, a host and a path.")
    if "@" in parts.netloc:
        raise ValueError(f"The webhook's URL {shown!r} has a user or a password: put them in a header of the webhook.")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
    is_tls = parts.scheme == "https"
    return Address(
        is_tls=is_tls,
        host=parts.hostname,
        port=parts.port or (443 if is_tls else 80),
        path=f"{path}?{query}" if query else path,
        shown=shown,
    )


class WebhookConnection:
    """Sends one request after another; opens and closes its connection as needed. Used by one thread."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection: http.client.HTTPConnection | None = None

    def post(self, body: bytes, headers: Mapping[str, str], *, timeout_s: float) -> int:
        """Return the answer's status.

        Raises `OSError` (`TimeoutError` among others), `http.client.HTTPException`, and `ValueError` for a header
        that HTTP does not allow.
        """
        deadline = time.monotonic() + timeout_s
        try:
            if self._connection is not None:
                try:
                    return self._exchange(self._connection, body, headers, deadline)
                except _STALE:
                    self.close()
            self._connection = self._connect(deadline)
            return self._exchange(self._connection, body, headers, deadline)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; `post` opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        address, timeout_s = self._address, _remaining_s(deadline)
        connection = (
            http.client.HTTPSConnection(address.host, address.port, timeout=timeout_s, context=_tls_context())
            if address.is_tls
            else http.client.HTTPConnection(address.host, address.port, timeout=timeout_s)
        )
        connection.connect()
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str], deadline: float
    ) -> int:
        def timed_response(sock: socket.socket, **options: Any) -> http.client.HTTPResponse:
            return http.client.HTTPResponse(_TimedSocket(sock, deadline), **options)  # type: ignore[arg-type]

        connection.response_class = timed_response  # type: ignore[assignment]
        connection.sock.settimeout(_remaining_s(deadline))
        connection.request("POST", self._address.path, body=body, headers=dict(headers))
        response = connection.getresponse()
        # http.client has already closed a connection that can't be kept.
        if connection.sock is None or not _is_read_to_the_end(response):
            self.close()
        return response.status


class _TimedSocket:
    """The reading side of a socket, for `HTTPResponse`."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._reader = _TimedReader(sock, deadline)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


class _TimedReader(io.RawIOBase):
    """Reads until one deadline, however many pieces the answer comes in."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_remaining_s(self._deadline))
        return self._socket.recv_into(buffer)


def _is_read_to_the_end(response: http.client.HTTPResponse) -> bool:
    # The status has arrived and counts, also if the rest of the answer never comes.
    try:
        return len(response.read(ANSWER_BYTES + 1)) <= ANSWER_BYTES
    except (OSError, http.client.HTTPException):
        return False


def _remaining_s(deadline: float) -> float:
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0.0:
        raise TimeoutError("The target did not answer in time.")
    return remaining_s


@cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()
