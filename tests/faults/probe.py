"""What servers do with clients that misbehave, as a table: `python -m tests.faults.probe [--write-docs]`.

Each server runs our application as a real process. The probes: a reader that stops, a flood of messages, a compressed
bomb, lines on which nothing or half of a request comes, and SIGTERM with open connections. Takes some six minutes.
"""

import argparse
import os
import socket
import sys
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.core.management import call_command  # noqa: E402 (Django first)

from benchmarks.results.markdown import table, with_block  # noqa: E402
from telltale.live import tickets  # noqa: E402
from tests.runners.workers import descendants  # noqa: E402
from tests.servers import ROOT, running  # noqa: E402
from tests.transports.conftest import CLIENTS, publishing_to_processes  # noqa: E402
from tests.transports.raw import UPGRADE, Line, Socket  # noqa: E402
from tests.transports.sites import COMMANDS, ProcessSite, wait_until  # noqa: E402
from tests.transports.slow import masked, slow_socket, slow_stream  # noqa: E402
from tests.transports.test_servers import publishing_much  # noqa: E402

PAGE: Final = ROOT / "docs" / "live-server.md"
SILENT_S: Final = 75.0
SLOW_S: Final = 40.0
FLOOD_S: Final = 5.0
BOMB_BYTES: Final = 200 * 1024 * 1024
TOPIC: Final = "project:7"

Row = dict[str, str]


def rss_mib(site: ProcessSite) -> float:
    """The resident memory of a server and its child processes."""
    pages = 0
    for pid in [site.pid, *descendants(site.pid)]:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def growth(site: ProcessSite, act: Callable[[], str]) -> str:
    """What `act` found, and by how much the server's memory has grown."""
    before = rss_mib(site)
    found = act()
    return f"{found}; {max(0.0, rss_mib(site) - before):+.0f} MiB"


def slow_reader(site: ProcessSite, connect: Callable[[ProcessSite, str], socket.socket]) -> str:
    """Publish more than buffers hold to a client that reads nothing, until the server has given it up."""

    def act() -> str:
        with connect(site, TOPIC), publishing_much(TOPIC):
            began = time.monotonic()
            while time.monotonic() < began + SLOW_S:
                time.sleep(0.2)
                if site.connection_count() == 0:
                    return f"closed after {time.monotonic() - began:.0f} s"
        return f"open after {SLOW_S:.0f} s"

    wait_until(lambda: site.connection_count() == 0, "earlier clients have left")
    return growth(site, act)


def flood(site: ProcessSite) -> str:
    """Send messages of 1 KiB without a pause."""

    def act() -> str:
        client = Socket(site, TOPIC)
        message = masked(b'{"type":"ack","n":1,"x":"' + b"x" * 1_000 + b'"}') * 20
        sent, began = 0, time.monotonic()
        with suppress(OSError):
            while time.monotonic() < began + FLOOD_S:
                client.socket.sendall(message)
                sent += 20
        code = _closing_code(client)
        client.socket.close()
        return f"closed {code}" if code else f"{sent:,} messages taken in {FLOOD_S:.0f} s"

    return growth(site, act)


def _closing_code(client: Socket) -> str:
    client.socket.settimeout(5.0)
    try:
        code, _messages = client.texts_and_closing()
        return f"with {code}" if code else "without a code"
    except (AssertionError, OSError):
        return "without a code" if client.has_ended else ""


def bomb(site: ProcessSite) -> str:
    """Send 200 MiB of zeros, compressed, to a server that takes compressed messages."""
    line = Line(site)
    line.request(*UPGRADE, "Sec-WebSocket-Extensions: permessage-deflate")
    head = line.read_until(b"\r\n\r\n")
    if b"permessage-deflate" not in head:
        line.socket.close()
        return "takes no compressed messages"

    def act() -> str:
        compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = b"".join(compressor.compress(bytes(1024**2)) for _ in range(BOMB_BYTES // 1024**2))
        frame = bytearray(masked(data + compressor.flush(zlib.Z_SYNC_FLUSH)[:-4]))
        frame[0] |= 0x40  # compressed
        line.send(bytes(frame))
        line.socket.settimeout(30)
        with suppress(OSError):
            end = line.read_to_end()
            return f"closed with {int.from_bytes(end[2:4], 'big')}" if end[:1] == b"\x88" else "cut"
        return "not closed"

    return growth(site, act)


def until_closed(site: ProcessSite, first: bytes) -> str:
    """How long a line stays open on which nothing comes after `first`."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=SILENT_S) as line:
        line.sendall(first)
        began = time.monotonic()
        try:
            while line.recv(4_096):
                pass
        except TimeoutError:
            return f"open after {SILENT_S:.0f} s"
        except OSError:
            pass
        return f"closed after {time.monotonic() - began:.0f} s"


def sigterm(site: ProcessSite) -> str:
    """Stop a server that has a socket and a stream."""
    clients = [CLIENTS[transport](site, tickets.issue([TOPIC])) for transport in ("websocket", "sse")]
    for client in clients:
        client.message("hello")
    began = time.monotonic()
    site.begin_shutdown()
    ends = []
    for client in clients:
        with suppress(Exception):
            client.wait_for_end()
        byes = [message for message in client.messages if message["type"] == "bye"]
        ends.append(f"{byes[0]['code']}" if byes else "no reason")
        client.close()
    with suppress(AssertionError):
        site.wait_for_exit(60.0)
        return f"socket {ends[0]}, stream {ends[1]}; exits after {time.monotonic() - began:.0f} s"
    return f"socket {ends[0]}, stream {ends[1]}; still there after 60 s"


HALF: Final = b"GET /telltale/live/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpg"

PROBES: Final[dict[str, Callable[[ProcessSite], str]]] = {
    "a socket that is not read": partial(slow_reader, connect=slow_socket),
    "a stream that is not read": partial(slow_reader, connect=slow_stream),
    "a flood of messages of 1 KiB": flood,
    "200 MiB in a compressed message": bomb,
    "nothing is sent": partial(until_closed, first=b""),
    "half of a handshake is sent": partial(until_closed, first=HALF),
    "SIGTERM with a socket and a stream": sigterm,
}


def versions() -> str:
    """The versions of all that was probed."""
    names = ("django-telltale", "uvicorn", "daphne", "hypercorn", "granian")
    python = ".".join(map(str, sys.version_info[:3]))
    return ", ".join(f"{name} {version(name)}" for name in names) + f", Python {python}"


def probe(kind: str) -> Row:
    """All that one server did, by probe; lines that stay silent are tried meanwhile."""
    with running(partial(ProcessSite.of, kind=kind)) as site, ThreadPoolExecutor(2) as silent:
        waits = {name: silent.submit(PROBES[name], site) for name in ("nothing is sent", "half of a handshake is sent")}
        row: Row = {}
        for name, act in PROBES.items():
            row[name] = waits[name].result() if name in waits else _found(act, site)
        return row


def _found(act: Callable[[ProcessSite], str], site: Any) -> str:
    try:
        return act(site)
    except Exception as error:
        # A server that breaks is a finding, and the next probe tells whether it still serves.
        return f"{type(error).__name__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("servers", nargs="*", default=list(COMMANDS), help="which servers; all if none is named")
    parser.add_argument("--write-docs", action="store_true", help="write the table into docs/live-server.md")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    with publishing_to_processes():
        rows = {kind: probe(kind) for kind in options.servers}
    kinds = list(rows)
    text = table(["", *kinds], [[name, *(rows[kind][name] for kind in kinds)] for name in PROBES])
    text += f"\n\n{versions()}."
    print(text)  # noqa: T201 (a command)
    if options.write_docs:
        PAGE.write_text(with_block(PAGE.read_text(), "probe", text))


if __name__ == "__main__":
    main()
