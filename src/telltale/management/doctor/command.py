"""Runs `telltale doctor`: all examinations, then a report for people or as JSON."""

import json
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import partial

from telltale.management.doctor.broker import examine_broker
from telltale.management.doctor.database import examine_database
from telltale.management.doctor.finding import Examination, Finding, failed
from telltale.management.doctor.settings import examine_settings
from telltale.management.doctor.site import examine_site
from telltale.management.doctor.workers import examine_workers

COVERED = {
    "sqlite-no-wal": "telltale.E019",
    "sqlite-short-timeout": "telltale.E020",
    "telltale.W012": "broker-process-only",
}
"""Findings that say the same: the first is left out if the second is there."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `telltale doctor`."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help="The address of the running site, such as https://example.com/; its pages are requested.",
    )
    parser.add_argument("--json", action="store_true", help="Write the report as JSON.")


def examinations(url: str | None) -> dict[str, Examination]:
    """Return what is examined, by the name of the part. `url`: the site's address; None: none is requested."""
    parts: dict[str, Examination] = {
        "settings": examine_settings,
        "database": examine_database,
        "broker": examine_broker,
        "workers": examine_workers,
    }
    return parts if url is None else parts | {"site": partial(examine_site, url)}


def examine(url: str | None) -> list[Finding]:
    """Return all findings. An examination that raises is one, too."""
    findings = [finding for part, examination in examinations(url).items() for finding in _safely(part, examination)]
    ids = {finding.id for finding in findings}
    return [finding for finding in findings if COVERED.get(finding.id) not in ids]


def report(findings: list[Finding], *, url: str | None, is_json: bool, write: Callable[[str], object]) -> None:
    """Write the report."""
    examined = list(examinations(url))
    if is_json:
        content = {"ok": not findings, "examined": examined, "findings": [finding.to_json() for finding in findings]}
        write(json.dumps(content, indent=2, ensure_ascii=False))
        return
    for finding in findings:
        write(f"{finding.id}\n  Found: {finding.found}\n  Why:   {finding.why}\n  Do:    {finding.setting}\n")
    count = f"{len(findings)} {'problem' if len(findings) == 1 else 'problems'}" if findings else "No problems"
    write(f"{count} found. Examined: {', '.join(examined)}.")
    if url is None:
        write("With --url https://your.site/, the running site's static files, stream and policy are examined, too.")


def _safely(part: str, examination: Examination) -> Iterator[Finding]:
    try:
        yield from examination()
    except Exception as error:
        # The other parts are examined all the same.
        yield failed(part, error)
