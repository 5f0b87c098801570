"""The table of a record: plain for the terminal, and in Markdown for docs/performance.md.

`python -m benchmarks.report.table [RECORD]` puts the newest record's table (or RECORD's) between the marks of that
page, so that no figure there is typed by hand.
"""

import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.report import record

PAGE: Final = Path("docs/performance.md")
MARK: Final = "<!-- table -->"

HEAD: Final = ("row", "ours", "peer", "", "ratio: min – median – max", "target", "verdict")
KEYS: Final = ("title", "ours", "peer", "peer_name", "ratio", "target", "verdict")


def plain(kept: dict[str, Any]) -> str:
    """Columns that line up."""
    lines = [HEAD, *_lines(kept)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def markdown(kept: dict[str, Any]) -> str:
    """A table, under a line that says what it was measured on."""
    on = kept["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in on["peers"].items())
    rows = ["| " + " | ".join(line) + " |" for line in (HEAD, ("---",) * len(HEAD), *_lines(kept))]
    where = f"{kept['began_at']}, {on['cores']} cores of {on['cpu']}, Linux {on['kernel']}, Python {on['python']}"
    return "\n".join([f"Measured {where}; {versions}.", "", *rows])


def _lines(kept: dict[str, Any]) -> list[tuple[str, ...]]:
    return [tuple(row[key] for key in KEYS) for row in kept["rows"]]


def main() -> None:
    """Put the table into the page."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else record.newest()
    before, _old, after = PAGE.read_text().split(MARK)
    PAGE.write_text(f"{before}{MARK}\n\n{markdown(record.read(path))}\n\n{MARK}{after}")
    print(f"{PAGE} shows {path}.")


if __name__ == "__main__":
    main()
