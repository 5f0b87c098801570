"""Computes the table's rows from the results: ratios within each round, their spread, and whether targets are met."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from benchmarks.experiments.run import Result
from benchmarks.results.rows import ROWS, Row, with_unit

MISSING = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRow:
    """One row as text."""

    title: str
    ours: str
    peer: str
    peer_name: str
    ratio: str
    target: str
    verdict: str
    ratios: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The figures of one row."""

    ours: list[float]
    peer: list[float]
    pairs: list[tuple[float, float]]
    """Ours and the peer's, of the rounds that have both."""


Found = dict[tuple[str, str, str, int], float]
"""Figures by experiment, contender, metric and round."""


def judge_rows(results: Iterable[Result]) -> list[JudgedRow]:
    """All rows, in their order."""
    found = {
        (result.experiment, result.contender, metric, result.round): figure
        for result in results
        for metric, figure in result.figures.items()
    }
    rounds = 1 + max((key[3] for key in found), default=0)
    return [_judge(row, _series(row, found, rounds)) for row in ROWS]


def _series(row: Row, found: Found, rounds: int) -> Series:
    peer_name = row.peer.name if row.peer else ""
    peer_experiment, peer_metric = row.peer_experiment or row.experiment, row.peer_metric or row.metric
    ours = [found.get((row.experiment, row.ours.name, row.metric, number)) for number in range(rounds)]
    peer = [found.get((peer_experiment, peer_name, peer_metric, number)) for number in range(rounds)]
    return Series(
        ours=[figure for figure in ours if figure is not None],
        peer=[figure for figure in peer if figure is not None],
        pairs=[(a, b) for a, b in zip(ours, peer, strict=True) if a is not None and b is not None],
    )


def _judge(row: Row, series: Series) -> JudgedRow:
    ratios = [ours / peer for ours, peer in series.pairs if peer]
    excesses = [ours - peer for ours, peer in series.pairs]
    judged = {"ratio": ratios, "excess": excesses, "ours": series.ours}[row.by]
    is_met = row.is_met(statistics.median(judged)) if judged else None
    return JudgedRow(
        title=row.title,
        ours=_median(series.ours, row.unit),
        peer=_median(series.peer, row.unit),
        peer_name=row.peer.name if row.peer else "",
        ratio=spread(ratios),
        target=row.target,
        verdict={True: "met", False: "not met", None: MISSING}[is_met] if judged else "no figure",
        ratios=tuple(ratios),
    )


def spread(ratios: list[float]) -> str:
    """Minimum, median and maximum as text."""
    if not ratios:
        return MISSING
    return " – ".join(f"{ratio:.3g}" for ratio in (min(ratios), statistics.median(ratios), max(ratios)))


def _median(figures: list[float], unit: str) -> str:
    return with_unit(statistics.median(figures), unit) if figures else MISSING
