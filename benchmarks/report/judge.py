"""Makes the table's rows of the readings: ratios within each round, their spread, and whether the promise holds."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from benchmarks.report.rows import ROWS, Row, shown
from benchmarks.visits.run import Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One row, ready to be shown. Empty where nothing was read."""

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


def judged(readings: Iterable[Reading]) -> list[Judged]:
    """Every row."""
    found = {
        (reading.visit, reading.contender, metric, reading.round): figure
        for reading in readings
        for metric, figure in reading.figures.items()
    }
    count = 1 + max((key[3] for key in found), default=0)
    return [_judged(row, *_series(row, found, count)) for row in ROWS]


Found = dict[tuple[str, str, str, int], float]


def _series(row: Row, found: Found, count: int) -> tuple[list[float], list[float], list[tuple[float, float]]]:
    """Ours, the peer's, and both of those rounds that have both."""
    name = row.peer.name if row.peer else ""
    ours = [found.get((row.visit, row.ours.name, row.metric, n)) for n in range(count)]
    peer = [found.get((row.peer_visit or row.visit, name, row.peer_metric or row.metric, n)) for n in range(count)]
    pairs = [(a, b) for a, b in zip(ours, peer, strict=True) if a is not None and b is not None]
    return [a for a in ours if a is not None], [b for b in peer if b is not None], pairs


def _judged(row: Row, ours: list[float], peer: list[float], pairs: list[tuple[float, float]]) -> Judged:
    ratios = [a / b for a, b in pairs if b]
    by = {"ratio": ratios, "excess": [a - b for a, b in pairs], "ours": ours}[row.by]
    is_met = row.is_met(statistics.median(by)) if by else None
    return Judged(
        title=row.title,
        ours=_middle(ours, row.unit),
        peer=_middle(peer, row.unit),
        peer_name=row.peer.name if row.peer else "",
        ratio=spread(ratios),
        target=row.target,
        verdict="no figure" if not by else {True: "met", False: "not met", None: "–"}[is_met],
        ratios=tuple(ratios),
    )


def spread(ratios: list[float]) -> str:
    """Least, median, most."""
    if not ratios:
        return "–"
    return " – ".join(f"{each:.3g}" for each in (min(ratios), statistics.median(ratios), max(ratios)))


def _middle(figures: list[float], unit: str) -> str:
    return shown(statistics.median(figures), unit) if figures else "–"
