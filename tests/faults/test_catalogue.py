"""docs/faults.md against the tests: each fault has a test with its number in its name, and no test has another."""

import ast
import re
from collections import defaultdict
from functools import cache

import pytest

from telltale.brokers import RECHECK_S
from telltale.brokers.base import Reach
from telltale.conf import Settings
from telltale.core.policy import ConnectionPolicy
from telltale.core.snapshot import RETURN_BYTES
from telltale.server import websocket_protocol
from tests.servers import ROOT

PAGE = (ROOT / "docs" / "faults.md").read_text()
NOT_APPLICABLE = {59, 60}


@cache
def names_by_number() -> dict[int, list[str]]:
    """The tests of each fault, as "path::name"; a test of an attack too has two numbers: `test_s47_f41_…`."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                numbers = re.match(r"test_((?:[sf]\d\d_)*)", node.name)
                for number in re.findall(r"f(\d\d)_", numbers[1] if numbers else ""):
                    found[int(number)].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def documented() -> list[int]:
    return [int(number) for number in re.findall(r"^\| F(\d+) \|", PAGE, re.M)]


def test_the_page_has_each_fault_once() -> None:
    assert sorted(documented()) == sorted(set(range(1, 63)) - NOT_APPLICABLE)


def test_each_fault_has_a_test_with_its_number() -> None:
    assert [number for number in documented() if number not in names_by_number()] == []


def test_each_number_in_a_tests_name_is_on_the_page() -> None:
    assert {number: tests for number, tests in names_by_number().items() if number not in documented()} == {}


def test_no_row_is_without_an_answer() -> None:
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(r"\| F\d", line)]
    assert [cells for cells in rows if len(cells) != 4 or not all(cell.strip() for cell in cells)] == []


@pytest.mark.parametrize(
    ("value", "figure", "text"),
    [
        (Settings().beat_s, 8, "renews its leases every 8 s"),
        (Settings().stalled_s, 45, 'shows "Lost contact with the worker" after 45 s'),
        (Settings().lease_s, 105, "is lost after 105 s"),
        (Settings().end_retry_s, 30, "An end is repeated for 30 s"),
        (RECHECK_S[Reach.NOWHERE], 2, "reads followed tasks again every 2 s"),
        (RECHECK_S[Reach.SITE], 15, "every 15 s if the broker reaches the whole site"),
        (ConnectionPolicy().silence_s, 40, "after 40 s, the live server after 150 s"),
        (websocket_protocol.POLICY.silence_s, 150, "after 40 s, the live server after 150 s"),
        (websocket_protocol.POLICY.ping_s, 20, "Something is sent every 20 s at least"),
        (ConnectionPolicy().credit, 64 * 1024, "Nothing more is sent after 64 KiB"),
        (websocket_protocol.POLICY.credit, 256 * 1024, "(live server: 256 KiB)"),
        (ConnectionPolicy().slow_s, 10, "after 10 s the client is closed as `slow`"),
        (RETURN_BYTES, 8 * 1024, "a return value beyond 8 KiB is not kept"),
    ],
)
def test_the_figures_of_the_page_are_those_of_the_code(value: float, figure: float, text: str) -> None:
    assert value == figure
    assert text in PAGE
