"""The soak's oracle finds what is wrong. `make load` also runs a small soak, `make soak` the long one."""

import argparse
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from telltale import store
from telltale.core.snapshot import Order
from telltale.core.states import State
from telltale.owners import Owner
from tests.load.soak.oracle import Findings, examine
from tests.load.soak.people import View
from tests.load.soak.processes import Growth
from tests.load.soak.report import table_of, write_page
from tests.load.soak.schedule import leaks_of, run
from tests.load.soak.worker import session_of


def ended_task(label: str) -> tuple[bytes, Order]:
    """A task of owner 0 that has succeeded."""
    task = store.queue(runner="track", name="soak", label=label, owner=Owner(session=session_of(0))).task
    claim = store.claim(task_id=task.pk, worker="w")
    assert isinstance(claim, store.Claim)
    changed = store.end(task.pk, claim.attempt, State.SUCCEEDED)
    assert changed is not None
    return str(task.pk).encode(), changed.snapshot.order


def found(findings: Findings) -> dict[str, int]:
    return {name: len(getattr(findings, name)) for name in ("lost_ends", "missing", "unended", "wrong")}


@pytest.mark.django_db
def test_the_oracle_agrees_with_followers_who_saw_all_ends(tmp_path: Path) -> None:
    task, order = ended_task("soak-0-1")
    (tmp_path / "ends").write_text("soak-0-1 succeeded\n")
    findings = examine([View(0, {task: order})], [tmp_path / "ends"])
    assert (findings.is_clean, findings.compared, findings.acknowledged_ends) == (True, 1, 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("view", "ends", "kind"),
    [
        ("missing", "", "missing"),
        ("running", "", "unended"),
        ("older", "", "wrong"),
        ("foreign", "", "wrong"),
        ("true", "soak-0-1 failed\n", "lost_ends"),
        ("true", "soak-0-2 succeeded\n", "lost_ends"),
    ],
)
def test_the_oracle_finds_a_lost_end_and_a_wrong_view(view: str, ends: str, kind: str, tmp_path: Path) -> None:
    task, order = ended_task("soak-0-1")
    (tmp_path / "ends").write_text(ends)
    views: dict[str, dict[bytes, Order]] = {
        "missing": {},
        "running": {task: (order[0], False, order[2] - 1)},
        "older": {task: (order[0], True, order[2] - 1)},
        "foreign": {task: order, str(uuid4()).encode(): (1, True, 1)},
        "true": {task: order},
    }
    findings = examine([View(0, views[view])], [tmp_path / "ends"])
    assert found(findings) == {"lost_ends": 0, "missing": 0, "unended": 0, "wrong": 0} | {kind: 1}
    assert not findings.is_clean


def growth(**more: Any) -> Growth:
    same = {"rss_mib": (90.0, 91.0), "mib_per_hour": 1.0, "descriptors": (220, 221), "threads": (4, 4)}
    return Growth(**{**same, "core_share": 0.1, **more})


def test_what_grows_is_found() -> None:
    assert leaks_of({"server": growth()}, {"descriptors": 3}, 30) == []
    assert len(leaks_of({"server": growth(descriptors=(220, 400))}, {}, 30)) == 1
    assert len(leaks_of({"server": growth(threads=(4, 90))}, {}, 30)) == 1
    assert len(leaks_of({"server": growth(rss_mib=(90.0, 130.0))}, {}, 30)) == 1
    assert len(leaks_of({}, {"descriptors": 300}, 30)) == 1


@pytest.mark.load
@pytest.mark.service
@pytest.mark.timeout(600)
def test_a_small_soak_loses_no_end_and_shows_nothing_wrong(tmp_path: Path, transactional_db: None) -> None:
    options = argparse.Namespace(minutes=1.0, followers=300, updates=100.0, connects=100.0, workers=2)
    record = run(tmp_path, options)
    assert record["is_clean"], record
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured -->\n<!-- /measured -->\nafter\n")
    write_page(page, record)
    assert table_of(record) in page.read_text()
