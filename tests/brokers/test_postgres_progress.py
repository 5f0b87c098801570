"""A task's progress from another process to a page, by PostgreSQL's notifications alone."""

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
from tests.transports.conftest import Site, SocketClient

pytestmark = pytest.mark.service

WORKER = """
import json, sys, time
import django; django.setup()
from dataclasses import replace
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.wire import Envelope
from telltale.messages import announce
first = Snapshot.from_json(json.loads(sys.argv[1]))
for n in range(1, 21):
    snapshot = replace(first, seq=first.seq + n, progress=Progress(current=n, total=20, message=repr(time.time())))
    announce([Envelope(topics=(f"task:{first.id}",), snapshot=snapshot)])
    time.sleep(0.1)
"""


@pytest.fixture
def postgres_url(settings: Any, postgres: Postgres) -> str:
    settings.TELLTALE = {"BROKER": postgres.url}
    return postgres.url


def test_progress_of_another_process_reaches_the_page_long_before_the_store_is_read(
    postgres_url: str, site: Site
) -> None:
    assert brokers.recheck_s(brokers.broker().reach) == 15
    task = task_of()
    snapshot = moved(started(task), 0.1, seq=2)
    client = SocketClient(site, tickets.issue([task_topic(task.pk)]))
    client.snapshot(task.pk, lambda s: s["seq"] == 2)
    env = {**os.environ, "TELLTALE_BROKER": postgres_url, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", WORKER, json.dumps(snapshot.to_json())]
    # These snapshots are not saved: only the broker can have delivered them.
    with subprocess.Popen(command, cwd=ROOT, env=env) as worker:
        delays_s = []
        for n in range(1, 21):
            state = client.snapshot(task.pk, lambda s, n=n: s["seq"] >= 2 + n)
            delays_s.append(time.time() - float(state["progress"]["message"]))
        assert worker.wait(50) == 0
    client.close()
    assert sorted(delays_s)[10] < 10
    assert client.messages[-1]["tasks"][0]["progress"]["current"] == 20
