"""What people read of a task, held to the cases that the browser's words are held to as well."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from telltale.core.health import Limits, health
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import Health
from telltale.pages import task_text

FILE = Path(__file__).parent.parent / "traces" / "words.json"
SHARED = json.loads(FILE.read_text(encoding="utf-8"))


def snapshot_of(case: dict[str, Any]) -> Snapshot:
    return Snapshot.from_json({**SHARED["base"], "progress": case["progress"], **case["snapshot"]})


@pytest.mark.parametrize("case", SHARED["cases"], ids=lambda case: case["about"])
def test_a_task_is_told_in_these_words(case: dict[str, Any]) -> None:
    doing = Health(case["health"]) if case["health"] else None
    told = task_text.tell(snapshot_of(case), doing, now=case["now"])
    expected = case["expected"]
    assert (told.status, told.quiet) == (expected["status"], expected["quiet"])
    assert (told.figure, told.value_text) == (expected["figure"], expected["value_text"])
    assert told.filled == pytest.approx(expected["filled"])


@pytest.mark.parametrize("case", SHARED["healths"], ids=lambda case: case["about"])
def test_a_task_is_seen_to_be_so_well_here_and_in_the_browser(case: dict[str, Any]) -> None:
    snapshot = snapshot_of({"progress": {}, "snapshot": case["snapshot"]})
    assert health(snapshot, now=case["now"], limits=Limits(**SHARED["limits"])) == case["expected"]


@pytest.mark.parametrize(("value", "text"), SHARED["numbers"])
def test_a_number_is_written_so(value: float, text: str) -> None:
    assert task_text.number(value) == text


@pytest.mark.parametrize(("seconds", "about", "span"), SHARED["times"])
def test_a_time_is_said_so(seconds: float, about: str, span: str) -> None:
    assert task_text.about(seconds) == about
    assert task_text.span(seconds) == span


def test_the_browser_tests_have_the_catalogue_that_pages_bring() -> None:
    kept = SHARED["catalogue"]
    current = task_text.catalogue()
    assert kept == current, f"put this into {FILE.name} as its catalogue: {json.dumps(current, ensure_ascii=False)}"


def test_every_state_and_health_has_its_words() -> None:
    ends = {"succeeded", "failed", "cancelled", "lost"}
    assert ends | {"quiet", "slow", "stalled"} <= task_text.MESSAGES.keys()


def test_figures_are_written_as_the_language_does() -> None:
    with translation.override("de"):
        assert task_text.number(12400) == "12.400"
        assert task_text.number(2.5) == "2,5"
        assert (task_text.catalogue()["group"], task_text.catalogue()["decimal"]) == (".", ",")


def test_a_language_with_more_plurals_is_told_which_form_is_for_which_number(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {1: "jedna", **dict.fromkeys((2, 3, 4), "{n} hodiny")}
    monkeypatch.setitem(task_text.PLURALS, "hours", lambda n: few.get(n, "{n} hodin"))
    task_text._catalogue.cache_clear()
    rule, *forms = task_text.catalogue()["plurals"]["hours"]
    digits = task_text.catalogue()["rules"][rule]
    task_text._catalogue.cache_clear()
    assert [forms[int(digits[n])] for n in (0, 1, 3, 5, 199)] == [
        "{n} hodin",
        "jedna",
        "{n} hodiny",
        "{n} hodin",
        "{n} hodin",
    ]


def test_a_running_task_that_reports_beyond_its_bounds_still_fits_its_bar() -> None:
    for fraction, share in ((-1.0, 0.0), (7.0, task_text.BEFORE_END)):
        snapshot = snapshot_of({"progress": {"fraction": fraction}, "snapshot": {"state": "running"}})
        assert task_text.filled(snapshot, now=0) == share
    assert Progress().fraction is None
