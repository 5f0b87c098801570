"""A task whose worker is killed or that is cancelled, and the end of the demo's processes."""

import signal
from pathlib import Path

import pytest

from tests.demo.site import SupervisedSite, Visitor, ended, is_alive

pytestmark = pytest.mark.service


def test_a_killed_import_is_stalled_then_lost_and_its_retry_succeeds(
    site: SupervisedSite, visitor: Visitor, airports: str
) -> None:
    location = visitor.upload(airports).headers["Location"]
    visitor.poll(location, until=lambda task: (task["progress"]["fraction"] or 0) >= 0.4)
    killed = site.worker_pid
    assert visitor.post("/kill-the-worker/").status_code < 400

    stalled = visitor.poll(location, until=lambda task: task["health"] == "stalled")[-1]
    assert stalled["state"] == "running"
    lost = visitor.poll(location, until=ended)[-1]
    assert lost["state"] == "lost"
    assert lost["can_retry"] is True
    assert site.worker_pid != killed

    assert visitor.post(f"{location}retry/").status_code < 400
    again = visitor.poll(location, until=ended)[-1]
    assert (again["state"], again["attempt"]) == ("succeeded", 2)
    [(count,)] = site.rows(
        "SELECT count(*) FROM airports_airport WHERE upload_id = ?", again["result"].split("/")[2].replace("-", "")
    )
    assert count == airports.count("\n") - 1
    assert site.rows("SELECT id FROM telltale_taskstate WHERE state = 'running'") == []


def test_a_task_that_is_cancelled_while_it_runs_ends_as_cancelled(visitor: Visitor, airports: str) -> None:
    location = visitor.upload(airports).headers["Location"]
    visitor.poll(location, until=lambda task: (task["progress"]["fraction"] or 0) > 0.05)
    visitor.post(f"{location}cancel/")
    assert visitor.poll(location, until=ended)[-1]["state"] == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_no_processes(tmp_path: Path, number: signal.Signals) -> None:
    with SupervisedSite(tmp_path) as site:
        processes = site.processes()
        assert len(processes) >= 3
        site.supervisor.send_signal(number)
        site.supervisor.wait(40)
        assert site.supervisor.returncode == 0
    assert not [pid for pid in processes if is_alive(pid)]
