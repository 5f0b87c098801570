"""The server's text of a task, checked against the same cases as the browser's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from telltale.core.health import Limits, health
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import Health
from telltale.pages import catalogue, durations, task_text

FILE = Path(__file__).parent.parent / "traces" / "task-text.json"
SHARED = json.loads(FILE.read_text(encoding="utf-8"))


def snapshot_of(case: dict[str, Any]) -> Snapshot:
    return Snapshot.from_json({**SHARED["base"], "progress": case["progress"], **case["snapshot"]})


@pytest.mark.parametrize("case", SHARED["cases"], ids=lambda case: case["about"])
def test_a_task_has_this_text(case: dict[str, Any]) -> None:
    task_health = Health(case["health"]) if case["health"] else None
    text = task_text.describe(snapshot_of(case), task_health, now=case["now"])
    expected = case["expected"]
    assert (text.status, text.detail) == (expected["status"], expected["detail"])
    assert (text.figure, text.value_text) == (expected["figure"], expected["value_text"])
    assert text.filled == pytest.approx(expected["filled"])
    assert text.keeps_running == expected["keeps_running"]
    assert text.borders == tuple(expected.get("borders", ()))


@pytest.mark.parametrize("case", SHARED["healths"], ids=lambda case: case["about"])
def test_a_task_has_this_health_here_and_in_the_browser(case: dict[str, Any]) -> None:
    snapshot = snapshot_of({"progress": {}, "snapshot": case["snapshot"]})
    assert health(snapshot, now=case["now"], limits=Limits(**SHARED["limits"])) == case["expected"]


@pytest.mark.parametrize(("language", "text"), SHARED["percentages"])
def test_a_percentage_is_written_as_the_language_writes_it(language: str, text: str) -> None:
    with translation.override(language):
        assert catalogue.percentage(0.449) == text
        assert catalogue.catalogue()["percent"].replace("{n}", "44") == text


@pytest.mark.parametrize(("label", "name", "shown"), SHARED["labels"])
def test_a_blank_label_is_replaced_by_the_tasks_name(label: str, name: str, shown: str) -> None:
    snapshot = replace(snapshot_of({"progress": {}, "snapshot": {"state": "running"}}), label=label, name=name)
    assert task_text.describe(snapshot, None, now=0).label == shown


@pytest.mark.parametrize(("value", "text"), SHARED["numbers"])
def test_a_number_is_formatted_like_this(value: float, text: str) -> None:
    assert catalogue.number(value) == text


@pytest.mark.parametrize(("seconds", "rough", "exact"), SHARED["times"])
def test_a_duration_is_formatted_like_this(seconds: float, rough: str, exact: str) -> None:
    assert durations.rough_duration(seconds) == rough
    assert durations.duration(seconds) == exact


@pytest.mark.parametrize(("seconds", "spread", "text"), SHARED["ranges"])
def test_a_duration_that_may_err_is_a_range(seconds: float, spread: float, text: str) -> None:
    assert durations.duration_range(seconds, spread) == text


def test_the_browser_tests_use_the_catalogue_that_pages_contain() -> None:
    recorded = SHARED["catalogue"]
    current = catalogue.catalogue()
    text = json.dumps(current, ensure_ascii=False)
    assert recorded == current, f"copy this into {FILE.name} as its catalogue: {text}"


def test_every_end_and_every_health_has_a_message() -> None:
    ends = {"succeeded", "failed", "cancelled", "lost"}
    assert ends | {"quiet", "slow", "stalled"} <= catalogue.MESSAGES.keys()


def test_numbers_follow_the_language() -> None:
    with translation.override("de"):
        assert catalogue.number(12400) == "12.400"
        assert catalogue.number(2.5) == "2,5"
        assert (catalogue.catalogue()["group"], catalogue.catalogue()["decimal"]) == (".", ",")


def test_a_language_with_more_plurals_gets_the_form_for_each_number(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {1: "jedna", **dict.fromkeys((2, 3, 4), "{n} hodiny")}
    monkeypatch.setitem(catalogue.PLURALS, "hours", lambda n: few.get(n, "{n} hodin"))
    catalogue._catalogue.cache_clear()
    rule, *forms = catalogue.catalogue()["plurals"]["hours"]
    digits = catalogue.catalogue()["rules"][rule]
    catalogue._catalogue.cache_clear()
    assert [forms[int(digits[n])] for n in (0, 1, 3, 5, 199)] == [
        "{n} hodin",
        "jedna",
        "{n} hodiny",
        "{n} hodin",
        "{n} hodin",
    ]


def test_a_fraction_out_of_bounds_still_fits_the_bar() -> None:
    for fraction, share in ((-1.0, 0.0), (7.0, task_text.MAX_BEFORE_END)):
        snapshot = snapshot_of({"progress": {"fraction": fraction}, "snapshot": {"state": "running"}})
        assert task_text.filled(snapshot, now=0) == share
    assert Progress().fraction is None
