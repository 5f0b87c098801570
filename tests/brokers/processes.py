"""Code that a test runs in another process of the site."""

import os
import subprocess
import sys

from tests.servers import ROOT


def run_process(code: str, *arguments: str, warnings: str = "error", **env: str) -> str:
    """Run Python code, which must end by itself without an error; return its output. `warnings`: Python's `-W`."""
    process = subprocess.run(
        [sys.executable, "-W", warnings, "-c", code, *arguments],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout


PATCH_BY_GEVENT = """
from gevent import monkey
monkey.patch_all()
"""

PUBLISH_UNDER_GEVENT = """
import gevent
from telltale import native
from telltale.brokers import build
received, missed, failures = [], [], []
publisher, listening = build(url), build(url)
def publish_from_a_thread():
    try:
        listener = listening.listen(received.extend, missed.append)
        listener.follow(["project:7"])
        is_ready.append(True)
        for n in range(50):
            publisher.publish(make_messages(b"thread %d" % n))
            native.sleep(0.002)
    except BaseException as error:
        failures.append(error)
    has_ended.append(True)
def publish_from_a_greenlet(name):
    for n in range(50):
        publisher.publish(make_messages(b"%d %d" % (name, n)))
        gevent.sleep(0.002)
is_ready, has_ended = [], []
gevent.sleep(0.01)
native.start_thread(publish_from_a_thread, "thread")
while not is_ready and not failures: gevent.sleep(0.01)
gevent.joinall([gevent.spawn(publish_from_a_greenlet, name) for name in range(5)], raise_error=True)
expected = {b"thread %d" % n for n in range(50)} | {b"%d %d" % (name, n) for name in range(5) for n in range(50)}
def is_done(): return has_ended and expected <= set(received)
deadline = time.monotonic() + 40
while not is_done() and not failures and time.monotonic() < deadline: gevent.sleep(0.01)
listening.close()
publisher.close()
print("all" if expected <= set(received) else sorted(expected - set(received)), failures)
"""
"""Publishes from a thread and from greenlets to the broker at `url`; prints "all []" if every message is received.

Comes after `PATCH_BY_GEVENT`."""
