"""A task's progress from another process to a page: through PostgreSQL's notifications alone, and within a blink."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from telltale import brokers
from telltale.core.topics import task_topic
from telltale.live import tickets
from tests.factories import moved, started, task_of
from tests.servers import ROOT, Postgres
from tests.transports.conftest import BySocket, Site

pytestmark = pytest.mark.service

WORKER = """
import json, sys, time
import django; django.setup()
from dataclasses import replace
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.wire import Envelope
from telltale.messages import announce
snapshot = Snapshot.from_json(json.loads(sys.argv[1]))
for n in range(1, 21):
    told = replace(snapshot, seq=snapshot.seq + n, progress=Progress(current=n, total=20, message=repr(time.time())))
    announce([Envelope(topics=(f"task:{snapshot.id}",), snapshot=told)])
    time.sleep(0.1)
"""


@pytest.fixture
def over_postgres(settings: Any, postgres: Postgres) -> str:
    settings.TELLTALE = {"BROKER": postgres.url}
    return postgres.url


def test_progress_of_another_process_is_on_the_page_long_before_the_store_is_read(
    over_postgres: str, site: Site
) -> None:
    assert brokers.recheck_s(brokers.broker().reach) == 15
    task = task_of()
    snapshot = moved(started(task), 0.1, seq=2)
    heard = BySocket(site, tickets.issue([task_topic(task.pk)]))
    heard.task(task.pk, lambda s: s["seq"] == 2)
    env = {**os.environ, "TELLTALE_BROKER": over_postgres, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", WORKER, json.dumps(snapshot.to_json())]
    # The store is told nothing of it: only the broker can have carried what is heard.
    with subprocess.Popen(command, cwd=ROOT, env=env) as worker:
        delays_s = []
        for n in range(1, 21):
            state = heard.task(task.pk, lambda s, n=n: s["seq"] >= 2 + n)
            delays_s.append(time.time() - float(state["progress"]["message"]))
        assert worker.wait(20) == 0
    heard.close()
    assert sorted(delays_s)[10] < 1
    assert heard.messages[-1]["tasks"][0]["progress"]["current"] == 20
