"""The benchmark judges what it was given, and its load misses nothing: a measure that is wrong is worse than none."""

from functools import partial

import pytest

from benchmarks.contenders.bare import FloorEventStream, FloorWebSocket
from benchmarks.report.judge import judged
from benchmarks.report.rows import CPU, EVEN, FLOOR, K1, ROWS, Row
from benchmarks.rig.contender import Contender
from benchmarks.visits import scenarios
from benchmarks.visits.plan import VISITS, Visit
from benchmarks.visits.run import Reading, go


def read(contender: Contender, *figures: float) -> list[Reading]:
    """The same visit's figure in one round after another."""
    return [
        Reading(round=number, visit=K1, contender=contender.name, figures={CPU: figure})
        for number, figure in enumerate(figures)
    ]


def first(readings: list[Reading]) -> tuple[str, str]:
    row = judged(readings)[0]
    return row.ratio, row.verdict


def test_the_median_of_the_rounds_ratios_is_judged() -> None:
    assert first(read(EVEN, 9.0, 2.4, 1.2) + read(FLOOR, 1.0, 2.0, 1.0)) == ("1.2 – 1.2 – 9", "met")
    assert first(read(EVEN, 9.0, 2.8, 1.2) + read(FLOOR, 1.0, 2.0, 1.0)) == ("1.2 – 1.4 – 9", "not met")


def test_a_round_in_which_one_of_both_failed_is_no_ratio() -> None:
    assert first(read(EVEN, 1.0, 5.0) + read(FLOOR, 1.0)) == ("1 – 1 – 1", "met")
    assert first(read(EVEN, 1.0)) == ("–", "no figure")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_a_row_compares_those_who_take_part_in_its_visits(row: Row) -> None:
    visits = {visit.name: visit.contenders for visit in VISITS}
    assert row.ours in visits[row.visit]
    assert row.peer is None or row.peer in visits[row.peer_visit or row.visit]


@pytest.mark.service
@pytest.mark.parametrize("floor", [FloorWebSocket(), FloorEventStream()], ids=lambda floor: floor.transport)
def test_each_follower_reads_each_message_in_a_frame_of_its_own(floor: Contender) -> None:
    steps = (scenarios.join(20), scenarios.broadcast, partial(scenarios.steady, per_second=20.0), scenarios.burst)
    figures: scenarios.Figures = {}
    go(Visit(name="test", contenders=(), scenarios=steps, followers=20), floor, 0.5, figures)
    assert figures["turned_away"] == figures["lost"] == 0
    assert figures["deliveries_per_frame"] == figures["burst_saw_last_share"] == 1.0
    assert figures["us_per_delivery"] > 0
    assert 0 < figures["steady_p50_ms"] <= figures["steady_p99_ms"]


@pytest.mark.service
def test_with_a_topic_each_nobody_reads_what_is_anothers() -> None:
    steps = (scenarios.join(20), scenarios.own_topics, partial(scenarios.steady, per_second=400.0))
    figures: scenarios.Figures = {}
    go(Visit(name="test", contenders=(), scenarios=steps, followers=20, topics=70), FloorWebSocket(), 0.5, figures)
    per_delivery, per_message = figures["steady_us_per_delivery"], figures["steady_server_us_per_message"]
    assert per_delivery == pytest.approx(per_message)
    assert figures["steady_saw_last_share"] == 1.0
