"""A pytest plugin that runs the tests of faults alone, and writes what each found to a JSON file.

    python -m pytest -p tests.faults.report --faults-report var/faults.json -m ''

The file has a run for each database: its faults by number, and for each whether the site converged (all its tests
passed), the longest time to converge that a test recorded, in seconds (`converges`; None if none did), how long its
slowest test took with all that it starts, and its tests with their counters (`record_property`).
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from django.db import connection

NUMBERS: Final = re.compile(r"test_((?:[sf]\d\d_)+)")


def numbers_of(name: str) -> list[str]:
    """Return the faults that a test is about: ["F47"] for `test_s09_f47_…`."""
    found = NUMBERS.match(name)
    return [f"F{int(number)}" for number in re.findall(r"f(\d\d)_", found[1])] if found else []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--faults-report", type=Path, required=True, help="the JSON file to write")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(FaultsReport(config.getoption("--faults-report")), "faults-report")


class FaultsReport:
    """Collects the reports of one run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tests: dict[str, dict[str, Any]] = {}
        self._began_at = time.time()

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out all tests that have no fault's number."""
        others = [item for item in items if not numbers_of(item.name)]
        items[:] = [item for item in items if numbers_of(item.name)]
        config.hook.pytest_deselected(items=others)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a test did; its set-up and its end count as well, if they fail."""
        if report.when != "call" and not report.failed and not report.skipped:
            return
        test = self._tests.setdefault(report.nodeid, {"outcome": report.outcome, "duration_s": 0.0})
        if report.failed:
            test["outcome"] = "failed"
        test["duration_s"] = round(test["duration_s"] + report.duration, 2)
        if report.user_properties:
            test["counters"] = dict(report.user_properties)

    def pytest_sessionfinish(self) -> None:
        """Write the file, beside the runs on other databases that it has."""
        runs = json.loads(self._path.read_text()) if self._path.exists() else {}
        self._path.parent.mkdir(exist_ok=True)
        run = {"began_at": round(self._began_at), "faults": by_fault(self._tests)}
        self._path.write_text(json.dumps(runs | {connection.vendor: run}, indent=2) + "\n")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print a line for each fault."""
        terminalreporter.section("faults")
        for fault, found in by_fault(self._tests).items():
            word = {True: "converged", False: "NOT CONVERGED", None: "not injected here"}[found["converged"]]
            within = "" if found["converged_s"] is None else f" within {found['converged_s']} s"
            terminalreporter.line(f"{fault:4} {word}{within}; {len(found['tests'])} tests, {found['slowest_s']} s")


def by_fault(tests: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the tests found, by fault."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for nodeid, test in tests.items():
        for fault in numbers_of(nodeid.rpartition("::")[2]):
            found[fault][nodeid] = test
    return {
        fault: {
            "converged": _has_converged([test["outcome"] for test in found[fault].values()]),
            "converged_s": max(_converged_s(found[fault].values()), default=None),
            "slowest_s": max(test["duration_s"] for test in found[fault].values()),
            "tests": found[fault],
        }
        for fault in sorted(found, key=lambda fault: int(fault[1:]))
    }


def _converged_s(tests: Iterable[Mapping[str, Any]]) -> list[float]:
    return [test["counters"]["converged_s"] for test in tests if "converged_s" in test.get("counters", {})]


def _has_converged(outcomes: Iterable[str]) -> bool | None:
    """Whether all tests that ran passed; None if all were skipped."""
    ran = {outcome for outcome in outcomes if outcome != "skipped"}
    return ran == {"passed"} if ran else None
