"""The documentation against the code: what is listed in both must be the same."""

import re
from pathlib import Path

import pytest

from telltale.conf import Settings
from telltale.core.reasons import REASONS
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
GUARANTEES = (ROOT / "docs" / "guarantees.md").read_text()
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


def test_the_protocol_lists_every_reason_with_code_and_return() -> None:
    rows = re.findall(r"^\| (4\d\d\d) \| ([\w ]+) \| ([\w ]+) \| (.+) \|$", PROTOCOL, re.M)
    assert rows == [(str(r.code), r.word, r.again.value, r.meaning) for r in REASONS]


@pytest.mark.parametrize("key", [*Snapshot.__slots__, "ended", *Progress.__slots__])
def test_the_protocol_shows_every_key_of_a_snapshot(key: str) -> None:
    assert f'"{key}":' in PROTOCOL


@pytest.mark.parametrize("state", list(State))
def test_the_protocol_names_every_state(state: State) -> None:
    assert f"`{state.value}`" in PROTOCOL


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize(
    ("setting", "seconds", "text"),
    [
        ("beat_s", 8, "renews every 8 s"),
        ("stalled_s", 45, '"lost contact" after 45 s'),
        ("lease_s", 105, "lost after 105 s"),
        ("end_retry_s", 30, "repeated for 30 s"),
        ("unstarted_s", 30 * 60, "fails after 30 minutes"),
        ("keep_queued_s", 7 * 86_400, "`KEEP_QUEUED_S`, a week"),
        ("ticket_s", 5 * 60, "valid for 5 minutes"),
    ],
)
def test_the_figures_of_the_guarantees_are_the_defaults(setting: str, seconds: float, text: str) -> None:
    assert getattr(Settings(), setting) == seconds
    assert text in GUARANTEES
