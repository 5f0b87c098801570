"""The record of a soak: as JSON in var/soak.json, and as a table in docs/soak.md."""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Final

from tests.servers import ROOT

PAGE: Final = ROOT / "docs" / "soak.md"
MARKS: Final = ("<!-- measured -->", "<!-- /measured -->")


def publish(record: dict[str, Any], *, write_docs: bool) -> None:
    """Write the record to the terminal and to var/soak.json, and with `write_docs` into the page."""
    text = json.dumps(record, indent=2)
    (ROOT / "var").mkdir(exist_ok=True)
    (ROOT / "var" / "soak.json").write_text(text + "\n")
    sys.stdout.write(text + "\n")
    if write_docs:
        write_page(PAGE, record)


def write_page(page: Path, record: dict[str, Any]) -> None:
    """Replace what is between the marks."""
    text = page.read_text()
    begin, end = text.index(MARKS[0]) + len(MARKS[0]), text.index(MARKS[1])
    page.write_text(f"{text[:begin]}\n\n{table_of(record)}\n\n{text[end:]}")


def table_of(record: dict[str, Any]) -> str:
    """The figures, as Markdown."""
    found, server = record["found"], record["growth"]["live server"]
    ends = ", ".join(f"{count:,} {state}" for state, count in found["ends"].items())
    delay = record["delay_ms"]
    rows = {
        "ends that were acknowledged to a worker": f"{found['acknowledged_ends']:,}",
        "… and not in the database": found["lost_ends"]["count"],
        "tasks": f"{found['tasks']:,} ({ends})",
        "followers' last views compared with the database": f"{found['compared']:,} tasks in {found['views']:,} views",
        "… a task missing": found["missing"]["count"],
        "… shown running although it has ended": found["unended"]["count"],
        "… wrong in another way": found["wrong"]["count"],
        "snapshots delivered": f"{record['deliveries']:,}",
        "from the task's line of code to the follower": " · ".join(f"{name} {ms} ms" for name, ms in delay.items()),
        "reconnects, and visits of a moment": f"{record['reconnects']:,}, {record['visits']:,}",
        "the live server's memory, first and last quarter of the quiet half": "{} → {} MiB".format(*server["rss_mib"]),
        "its file descriptors, likewise": "{} → {}".format(*server["descriptors"]),
        "its threads, likewise": "{} → {}".format(*server["threads"]),
        "its share of a core": f"{server['core_share']:.0%}",
        "file descriptors and threads left over when all have left": "{descriptors}, {threads}".format(
            **record["left_after_all_left"]
        ),
        "leaks": ", ".join(record["leaks"]) or "none",
        **{f"until all are connected: {name}": f"{seconds} s" for name, seconds in record["phases_s"].items()},
        "until all agree, after the workers were stopped": f"{record['agreed_after_s']} s",
    }
    about = (
        f"{record['at']}: {record['minutes']:g} minutes, {record['followers']:,} followers, {record['owners']:,} "
        f"owners with a running task each, {record['updates_per_s']:g} updates a second, "
        f"{record['connects_per_s']:g} connects a second; {os.cpu_count()} cores for everything, Linux "
        f"{platform.release()}, Python {platform.python_version()}."
    )
    lines = ["| what | figure |", "| --- | --- |", *(f"| {what} | {figure} |" for what, figure in rows.items())]
    return "\n".join([about, "", *lines])
