"""The table of a record: as plain text for the terminal, and in Markdown for docs/performance.md.

`python -m benchmarks.results.table [RECORD [BLOCK]]` puts the tables of RECORD, or of the newest record, into that
page, so that no figure there is typed by hand. BLOCK is one of `BLOCKS`: a record of a part of the plan has its rows.
"""

import sys
from pathlib import Path
from typing import Final

from benchmarks.results import markdown, record
from benchmarks.results.record import Record
from benchmarks.results.rows import PUSHERS
from benchmarks.rig.paths import DOCS

PAGE: Final = DOCS / "performance.md"
BLOCKS: Final = ("table", "pusher")
"""The page's tables: of all rows but those with Pusher's protocol, and of these."""

HEAD: Final = ("row", "ours", "peer", "", "ratio: min – median – max", "target", "verdict")
KEYS: Final = ("title", "ours", "peer", "peer_name", "ratio", "target", "verdict")


def plain_table(run: Record) -> str:
    """Aligned columns."""
    lines = [HEAD, *_rows(run)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def markdown_table(run: Record, block: str = "table") -> str:
    """A line with machine and versions, then the table of this block."""
    on = run["machine"]
    rows = [row for row in _rows(run) if row[0].startswith(PUSHERS) == (block == "pusher")]
    versions = ", ".join(f"{name} {version}" for name, version in on["peers"].items())
    where = f"{run['began_at']}, {on['cores']} cores of {on['cpu']}, Linux {on['kernel']}, Python {on['python']}"
    return f"Measured {where}; {versions}.\n\n{markdown.table(HEAD, rows)}"


def _rows(run: Record) -> list[tuple[str, ...]]:
    return [tuple(row[key] for key in KEYS) for row in run["rows"]]


def main() -> None:
    """Put the tables into the page."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else record.newest()
    run, page = record.read(path), PAGE.read_text()
    for block in sys.argv[2:] or BLOCKS:
        page = markdown.with_block(page, block, markdown_table(run, block))
    PAGE.write_text(page)
    print(f"{PAGE} shows {path}.")


if __name__ == "__main__":
    main()
