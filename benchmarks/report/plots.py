"""Draws a record: `.venv-bench/bin/python -m benchmarks.report.plots [RECORD]` writes three SVGs into docs/images/.

The promises with their spread; what a delivered message costs, and what a quiet connection holds, beside the peers.
"""

import statistics
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib

from benchmarks.report import record
from benchmarks.report.rows import K1, K1_SSE, KIB, OTHERS

matplotlib.use("svg")
matplotlib.rcParams |= {
    "svg.fonttype": "none",
    "svg.hashsalt": "telltale",
    "font.family": "sans-serif",
    "font.size": 10,
}

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen before)

HOME: Final = Path("docs/images")
OURS, PEERS, BAD = "#0b6e4f", "#9aa5b1", "#b3261e"

Kept = dict[str, Any]


def medians(kept: Kept, metric: str, visits: tuple[str, ...]) -> dict[str, float]:
    """The median of each contender's figure in these visits, smallest first."""
    found: dict[str, list[float]] = {}
    for reading in kept["readings"]:
        if reading["visit"] in visits and metric in reading["figures"]:
            found.setdefault(reading["contender"], []).append(reading["figures"][metric])
    return dict(sorted(((name, statistics.median(each)) for name, each in found.items()), key=lambda item: item[1]))


def bars(figures: dict[str, float], title: str, unit: str, name: str) -> None:
    """One bar a contender, ours in colour."""
    fig, ax = plt.subplots(figsize=(8, 0.36 * len(figures) + 1))
    names = list(figures)[::-1]
    values = [figures[each] for each in names]
    ax.barh(names, values, color=[OURS if each.startswith("Telltale") else PEERS for each in names])
    for place, value in enumerate(values):
        ax.text(value, place, f" {value:,.3g}", va="center")
    ax.set(xlabel=unit, xlim=(0, 1.1 * max(values)))
    finish(fig, ax, title, name)


def promises(kept: Kept) -> None:
    """Of each row whose ratio is promised: least, median and most, as shares of what is promised."""
    rows = [row for row in kept["rows"] if row["ratios"] and row["target"].endswith("×")][::-1]
    fig, ax = plt.subplots(figsize=(8, 0.36 * len(rows) + 1))
    for place, row in enumerate(rows):
        bound = float(row["target"].strip("≤≥ ×"))
        shares = [ratio / bound for ratio in row["ratios"]]
        colour = OURS if row["verdict"] == "met" else BAD
        ax.plot([min(shares), max(shares)], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        ax.plot(statistics.median(shares), place, "o", color=colour)
    labels = [f"{row['title']} / {row['peer_name']}" for row in rows]
    ax.set(
        yticks=range(len(rows)), yticklabels=labels, xscale="log", xlabel="ratio to the peer, as a share of the promise"
    )
    ax.axvline(1, color="black", linewidth=1)
    finish(fig, ax, "Left of the line: the promise is kept", "bench-promises")


def finish(fig: Any, ax: Any, title: str, name: str) -> None:
    """The same frame for all; the file holds no date, so that it changes only with its figures."""
    ax.set_title(title, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    HOME.mkdir(parents=True, exist_ok=True)
    fig.savefig(HOME / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(fig)


def main() -> None:
    """All three."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else record.newest()
    kept = record.read(path)
    at_1k = (K1, K1_SSE, OTHERS)
    costs = medians(kept, "us_per_delivery", at_1k)
    bars(costs, "CPU a delivered message, 1,000 followers of one topic", "µs", "bench-cpu")
    bars(medians(kept, KIB, at_1k), "Memory of a quiet connection", "KiB", "bench-memory")
    promises(kept)
    print(f"{HOME}/bench-*.svg show {path}.")


if __name__ == "__main__":
    main()
