"""The benchmark judges its figures correctly, and the load generator counts every message."""

from functools import partial

import pytest

from benchmarks.contenders.baselines import BaselineEventStream, BaselineWebSocket
from benchmarks.contenders.telltale import PusherWebSocket
from benchmarks.experiments import scenarios
from benchmarks.experiments.plan import EXPERIMENTS, Experiment, experiments
from benchmarks.experiments.run import Result, run
from benchmarks.results.judge import judge_rows
from benchmarks.results.markdown import table, with_block
from benchmarks.results.rows import BASELINE, CPU, ROWS, UNPACED, WS_1K, Row
from benchmarks.rig.contender import Contender


def results(contender: Contender, *figures: float) -> list[Result]:
    """The same experiment's figure in one round after another."""
    return [
        Result(round=number, experiment=WS_1K, contender=contender.name, figures={CPU: figure})
        for number, figure in enumerate(figures)
    ]


def first_row(measured: list[Result]) -> tuple[str, str]:
    row = judge_rows(measured)[0]
    return row.ratio, row.verdict


def test_the_median_of_the_rounds_ratios_is_judged() -> None:
    baseline = results(BASELINE, 1.0, 2.0, 1.0)
    assert first_row(results(UNPACED, 9.0, 2.4, 1.2) + baseline) == ("1.2 – 1.2 – 9", "met")
    assert first_row(results(UNPACED, 9.0, 2.8, 1.2) + baseline) == ("1.2 – 1.4 – 9", "not met")


def test_a_round_in_which_one_of_the_servers_failed_gives_no_ratio() -> None:
    assert first_row(results(UNPACED, 1.0, 5.0) + results(BASELINE, 1.0)) == ("1 – 1 – 1", "met")
    assert first_row(results(UNPACED, 1.0)) == ("–", "no figure")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_a_row_compares_contenders_of_its_experiments(row: Row) -> None:
    contenders = {experiment.name: experiment.contenders for experiment in EXPERIMENTS}
    assert row.ours in contenders[row.experiment]
    assert row.peer is None or row.peer in contenders[row.peer_experiment or row.experiment]


def test_experiments_are_chosen_by_words_of_their_names() -> None:
    assert [experiment.name for experiment in experiments(["tab", "idle"])] == ["one tab", "10k idle"]
    assert experiments([]) == list(EXPERIMENTS)


def test_a_block_of_a_page_is_replaced_and_a_page_without_it_is_refused() -> None:
    page = with_block("a\n<!-- t -->old<!-- /t -->\nb", "t", table(("x", "y"), [("1", r"\1")]))
    assert page == "a\n<!-- t -->\n\n| x | y |\n| --- | --- |\n| 1 | \\1 |\n\n<!-- /t -->\nb"
    with pytest.raises(LookupError, match="0 blocks"):
        with_block(page, "u", "")


@pytest.mark.service
@pytest.mark.parametrize(
    "contender", [BaselineWebSocket(), BaselineEventStream(), PusherWebSocket()], ids=lambda server: server.name
)
def test_each_follower_reads_each_message_in_its_own_frame(contender: Contender) -> None:
    steps = (
        scenarios.connect(20),
        scenarios.broadcast,
        partial(scenarios.constant_rate, per_second=20.0),
        scenarios.burst,
    )
    figures: scenarios.Figures = {}
    run(Experiment(name="test", contenders=(), scenarios=steps, followers=20), contender, 0.5, figures)
    assert figures["not_connected"] == figures["lost"] == 0
    assert figures["deliveries_per_frame"] == figures["burst_saw_last_share"] == 1.0
    assert figures["us_per_delivery"] > 0
    assert 0 < figures["constant_rate_p50_ms"] <= figures["constant_rate_p99_ms"]


@pytest.mark.service
def test_followers_with_a_topic_each_read_only_their_own_messages() -> None:
    steps = (scenarios.connect(20), scenarios.own_topics, partial(scenarios.constant_rate, per_second=400.0))
    figures: scenarios.Figures = {}
    experiment = Experiment(name="test", contenders=(), scenarios=steps, followers=20, topics=70)
    run(experiment, BaselineWebSocket(), 0.5, figures)
    per_delivery = figures["constant_rate_us_per_delivery"]
    assert per_delivery == pytest.approx(figures["constant_rate_server_us_per_message"])
    assert figures["constant_rate_saw_last_share"] == 1.0
