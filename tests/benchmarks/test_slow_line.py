"""The line with a long round trip, over which the first live update is measured."""

import socket
import threading
import time

from benchmarks.page.slow_line import slow_line

ROUND_TRIP_S = 0.2


def echo_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)


def test_a_connection_and_its_first_answer_take_two_round_trips_and_each_other_answer_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo_once, args=(server,), daemon=True).start()
        with slow_line(server.getsockname()[1], ROUND_TRIP_S) as url:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as client:
                for trips in (2, 3):
                    client.sendall(b"x")
                    assert client.recv(1) == b"x"
                    assert time.monotonic() - began >= trips * ROUND_TRIP_S
