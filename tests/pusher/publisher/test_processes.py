"""`pusher://` in processes that end, that are forked, and that gevent has patched: the end of a task goes out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pusher.publisher.recorder import Recorder
from tests.servers import ROOT

pytestmark = pytest.mark.service

PUBLISH_AND_END = """
import django
django.setup()
from telltale import brokers
from tests.pusher.publisher.envelopes import *
end = snapshot_of("t1", state=State.SUCCEEDED, topics=("task:t1", "user:7"))
brokers.broker().publish([message_of(end), message_of(event_of("ended"))])
"""

PUBLISH_WHILE_THE_INTERPRETER_ENDS = """
import atexit
import django
django.setup()
from telltale import brokers
from tests.pusher.publisher.envelopes import *
# Registered last, so it is called first: before the broker is closed, and after threads can be started.
atexit.register(lambda: brokers.broker().publish([message_of(event_of("ended"))]))
"""

PUBLISH_BEFORE_AND_AFTER_A_FORK = """
import os
import django
django.setup()
from telltale import brokers
from tests.pusher.publisher.envelopes import *
broker = brokers.broker()
broker.publish([message_of(event_of("of the parent"))])
child = os.fork()
if child == 0:
    broker.publish([message_of(event_of("of the child"))])
    broker.close()  # As runners do before `os._exit`, which skips all exit handlers.
    os._exit(0)
_pid, status = os.waitpid(child, 0)
broker.publish([message_of(event_of("of the parent, later"))])
assert status == 0
"""

PUBLISH_UNDER_GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import django
import gevent
django.setup()
from telltale import brokers
from tests.pusher.publisher.envelopes import *
greenlets = [
    gevent.spawn(lambda n=n: brokers.broker().publish([message_of(event_of(f"of greenlet {n}"))])) for n in range(3)
]
gevent.joinall(greenlets)
brokers.broker().publish([message_of(event_of("ended"))])
"""


def run(script: str, recorder: Recorder, tmp_path: Path) -> None:
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TELLTALE_BROKER": recorder.url,
        "TELLTALE_TEST_DB": str(tmp_path / "unused.sqlite3"),
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
    }
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "not sent" not in done.stderr


@pytest.mark.parametrize("script", [PUBLISH_AND_END, PUBLISH_WHILE_THE_INTERPRETER_ENDS, PUBLISH_UNDER_GEVENT])
def test_a_process_that_ends_has_sent_the_end_of_its_task(script: str, recorder: Recorder, tmp_path: Path) -> None:
    run(script, recorder, tmp_path)
    recorder.assert_received("ended")


def test_a_forked_child_sends_its_own_messages_and_none_of_its_parents(recorder: Recorder, tmp_path: Path) -> None:
    run(PUBLISH_BEFORE_AND_AFTER_A_FORK, recorder, tmp_path)
    names = [event["name"] for event in recorder.events]
    assert sorted(names) == ["of the child", "of the parent", "of the parent, later"]
