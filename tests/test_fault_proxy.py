"""The proxy with faults: what each verb does to a line between a client and a server that echoes."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fault_proxy import FaultProxy
from tests.http_proxy import Proxy, is_event_stream, response
from tests.transports.sites import wait_until

ROUND_TRIP_S = 0.2


class Echo:
    """A server that sends back what it gets, and counts its clients that have not ended."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.open = 0
        self._is_stopped = False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopped = True
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listening.close()

    def _accept(self) -> None:
        while not self._is_stopped:
            connection, _ = self._listening.accept()
            self.open += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                pass
        self.open -= 1


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.stop()


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=30)


def echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    got = b""
    while len(got) < len(data) and (more := client.recv(65_536)):
        got += more
    return got


def test_a_connection_and_its_first_answer_take_two_round_trips_and_each_other_answer_one(echo: Echo) -> None:
    with FaultProxy(echo.port, delay_s=ROUND_TRIP_S / 2) as proxy:
        began = time.monotonic()
        with connect(proxy) as client:
            for trips in (2, 3):
                assert echoed(client, b"x") == b"x"
                assert time.monotonic() - began >= trips * ROUND_TRIP_S


@pytest.mark.parametrize("end", [FaultProxy.cut, FaultProxy.reset], ids=["cut", "reset"])
def test_a_line_that_is_cut_ends_on_both_sides_and_a_new_one_works(
    echo: Echo, end: Callable[[FaultProxy], None]
) -> None:
    with FaultProxy(echo.port) as proxy:
        with connect(proxy) as client:
            assert echoed(client, b"a") == b"a"
            end(proxy)
            if end is FaultProxy.reset:
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
            else:
                assert client.recv(1) == b""
            wait_until(lambda: echo.open == 0, "the server's side has ended")
        with connect(proxy) as client:
            assert echoed(client, b"b") == b"b"


def test_a_line_is_cut_after_so_many_bytes_of_the_server(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, connect(proxy) as client:
        proxy.cut_after(5)
        assert echoed(client, b"abc") == b"abc"
        assert echoed(client, b"defg") == b"de"


def test_what_is_sent_over_a_frozen_line_arrives_once_it_is_healed(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, connect(proxy) as client:
        assert echoed(client, b"a") == b"a"
        proxy.freeze()
        client.sendall(b"b")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.heal()
        client.settimeout(30)
        assert client.recv(1) == b"b"


def test_a_black_hole_loses_all_and_tells_neither_side(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy:
        client = connect(proxy)
        assert echoed(client, b"a") == b"a"
        proxy.black_hole()
        client.sendall(b"b")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.close()
        with connect(proxy) as other:
            other.settimeout(0.3)
            other.sendall(b"c")
            with pytest.raises(TimeoutError):
                other.recv(1)
            assert echo.open == 2, "the first one's server was not told either"
            proxy.heal()
            wait_until(lambda: echo.open == 0, "lines that have lost bytes are reset")


def test_a_half_closed_line_ends_for_the_client_and_carries_on_what_it_sends(echo: Echo) -> None:
    with FaultProxy(echo.port) as proxy, connect(proxy) as client:
        assert echoed(client, b"a") == b"a"
        proxy.half_close()
        assert client.recv(1) == b""
        client.sendall(b"b")
        assert echo.open == 1


def test_a_throttled_line_is_as_slow_as_it_says(echo: Echo) -> None:
    with FaultProxy(echo.port, bytes_per_s=100) as proxy, connect(proxy) as client:
        began = time.monotonic()
        assert echoed(client, b"x" * 30) == b"x" * 30
        assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("limit", ["idle_s", "age_s"])
def test_an_idle_or_old_line_is_closed(echo: Echo, limit: str) -> None:
    with FaultProxy(echo.port, **{limit: 0.3}) as proxy, connect(proxy) as client:  # type: ignore[arg-type]
        assert client.recv(1) == b""
        wait_until(lambda: echo.open == 0, "the server's side has ended")


def test_an_http_proxy_refuses_by_the_head_and_with_any_status(echo: Echo) -> None:
    with Proxy(echo.port, is_event_stream, refusal=response("503 Service Unavailable")) as proxy:
        with connect(proxy) as client:
            client.sendall(b"GET / HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n")
            assert client.recv(65_536).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        proxy.refuses = ()
        with connect(proxy) as client:
            client.sendall(b"GET / HTTP/1.1\r\nConnection: keep-alive\r\nA: b\r\n\r\nbody")
            head = b"GET / HTTP/1.1\r\nConnection: close\r\nA: b\r\n\r\n"
            got = b""
            while len(got) < len(head) + 4:
                got += client.recv(65_536)
            assert got == head + b"body"
        assert (len(proxy.refused), len(proxy.passed)) == (1, 1)


def test_an_http_proxy_holds_an_answer_back_until_it_is_complete(echo: Echo) -> None:
    with Proxy(echo.port, buffers=lambda _head: True) as proxy, connect(proxy) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(30)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(65_536).startswith(b"GET / HTTP/1.1")
