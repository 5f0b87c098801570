"""What readers see when a worker is killed in the middle, and after."""

import signal
import time
from pathlib import Path

import pytest

from tests.demo.site import SupervisedSite, Visitor, ended, is_alive

pytestmark = [pytest.mark.service, pytest.mark.timeout(180)]


def test_a_killed_import_is_stalled_then_lost_and_a_retry_runs_to_the_end(
    site: SupervisedSite, visitor: Visitor, all_airports: str
) -> None:
    location = visitor.imports(all_airports).headers["Location"]
    visitor.watches(location, until=lambda told: (told["progress"]["fraction"] or 0) >= 0.4)
    killed_at, killed = time.monotonic(), site.worker_pid
    assert visitor.post("/kill-the-worker/").status_code < 400

    stalled = visitor.watches(location, until=lambda told: told["health"] == "stalled", within_s=12)[-1]
    assert stalled["state"] == "running"
    lost = visitor.watches(location, until=ended, within_s=20)[-1]
    assert lost["state"] == "lost"
    assert time.monotonic() - killed_at < 20
    assert lost["can_retry"] is True
    assert site.worker_pid != killed

    assert visitor.post(f"{location}retry/").status_code < 400
    again = visitor.watches(location, until=ended)[-1]
    assert (again["state"], again["attempt"]) == ("succeeded", 2)
    [(count,)] = site.rows(
        "SELECT count(*) FROM airports_airport WHERE upload_id = ?", again["result"].split("/")[2].replace("-", "")
    )
    assert count == all_airports.count("\n") - 1
    assert site.rows("SELECT id FROM telltale_taskstate WHERE state = 'running'") == []


def test_a_task_cancelled_in_the_middle_ends_cancelled(visitor: Visitor, all_airports: str) -> None:
    location = visitor.imports(all_airports).headers["Location"]
    visitor.watches(location, until=lambda told: (told["progress"]["fraction"] or 0) > 0.05)
    visitor.post(f"{location}cancel/")
    assert visitor.watches(location, until=ended, within_s=10)[-1]["state"] == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_demo_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    with SupervisedSite(tmp_path) as site:
        processes = site.processes()
        assert len(processes) >= 3
        site.supervisor.send_signal(number)
        site.supervisor.wait(15)
        assert site.supervisor.returncode == 0
    assert not [pid for pid in processes if is_alive(pid)]
