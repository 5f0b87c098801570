"""Plots a record: `.venv-bench/bin/python -m benchmarks.results.plots [RECORD]` writes three SVGs into docs/images/.

They show the ratios as shares of their targets, the CPU time of a delivered message and the memory of a quiet
connection. Runs with the Python of `.venv-bench`, which has matplotlib.
"""

import statistics
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib

from benchmarks.results import record
from benchmarks.results.record import Record
from benchmarks.results.rows import KIB, PEERS_1K, SSE_1K, WS_1K
from benchmarks.rig.paths import DOCS

matplotlib.use("svg")
matplotlib.rcParams |= {
    "svg.fonttype": "none",
    "svg.hashsalt": "telltale",
    "font.family": "sans-serif",
    "font.size": 10,
}

import matplotlib.pyplot as plt  # noqa: E402  (after the choice of the back end)

IMAGES: Final = DOCS / "images"
OURS, PEERS, NOT_MET = "#0b6e4f", "#9aa5b1", "#b3261e"


def medians(run: Record, metric: str, experiments: tuple[str, ...]) -> dict[str, float]:
    """The median of each contender's figure in these experiments, smallest first."""
    found: dict[str, list[float]] = {}
    for result in run["results"]:
        if result["experiment"] in experiments and metric in result["figures"]:
            found.setdefault(result["contender"], []).append(result["figures"][metric])
    typical = {name: statistics.median(figures) for name, figures in found.items()}
    return dict(sorted(typical.items(), key=lambda item: item[1]))


def plot_bars(figures: dict[str, float], title: str, unit: str, name: str) -> None:
    """One bar for each contender; Telltale's are coloured."""
    fig, ax = plt.subplots(figsize=(8, 0.36 * len(figures) + 1))
    names = list(figures)[::-1]
    values = [figures[contender] for contender in names]
    ax.barh(names, values, color=[OURS if contender.startswith("Telltale") else PEERS for contender in names])
    for position, value in enumerate(values):
        ax.text(value, position, f" {value:,.3g}", va="center")
    ax.set(xlabel=unit, xlim=(0, 1.1 * max(values)))
    save(fig, ax, title, name)


def plot_targets(run: Record) -> None:
    """Minimum, median and maximum of each ratio that has a target, as shares of the target."""
    rows = [row for row in run["rows"] if row["ratios"] and row["target"].endswith("×")][::-1]
    fig, ax = plt.subplots(figsize=(8, 0.36 * len(rows) + 1))
    for position, row in enumerate(rows):
        bound = float(row["target"].strip("≤≥ ×"))
        shares = [ratio / bound for ratio in row["ratios"]]
        colour = OURS if row["verdict"] == "met" else NOT_MET
        ax.plot([min(shares), max(shares)], [position, position], color=colour, linewidth=3, solid_capstyle="round")
        ax.plot(statistics.median(shares), position, "o", color=colour)
    labels = [f"{row['title']} / {row['peer_name']}" for row in rows]
    ax.set(
        yticks=range(len(rows)), yticklabels=labels, xscale="log", xlabel="ratio to the peer, as a share of the target"
    )
    ax.axvline(1, color="black", linewidth=1)
    save(fig, ax, "Left of the line: the target is met", "bench-targets")


def save(fig: Any, ax: Any, title: str, name: str) -> None:
    """Finish a plot and write it, without a date, so that the file changes only with its figures."""
    ax.set_title(title, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    IMAGES.mkdir(parents=True, exist_ok=True)
    fig.savefig(IMAGES / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(fig)


def main() -> None:
    """Write all three."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else record.newest()
    run = record.read(path)
    at_1k = (WS_1K, SSE_1K, PEERS_1K)
    costs = medians(run, "us_per_delivery", at_1k)
    plot_bars(costs, "CPU time of a delivered message, 1,000 followers of one topic", "µs", "bench-cpu")
    plot_bars(medians(run, KIB, at_1k), "Memory of a quiet connection", "KiB", "bench-memory")
    plot_targets(run)
    print(f"{IMAGES}/bench-*.svg show {path}.")


if __name__ == "__main__":
    main()
