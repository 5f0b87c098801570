"""The catalogue of attacks in docs/threats.md and the tests that carry its numbers name each other."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.servers import ROOT

NUMBERS = {f"S{n}" for n in range(1, 53)}


def python_tests(path: Path) -> Iterator[str]:
    """The names of the tests in a file that have numbers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and re.match(r"test_s\d\d_", node.name):
            yield node.name


def numbers_of(name: str) -> set[str]:
    """`test_s01_s02_a_page_of…` → {"S1", "S2"}"""
    prefix = re.match(r"test_((?:s\d\d_)+)", name)
    return {f"S{int(number)}" for number in re.findall(r"\d\d", prefix[1])} if prefix else set()


def numbered_tests() -> dict[str, list[str]]:
    """The tests of each number."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in python_tests(path):
            for number in numbers_of(name):
                found[number].append(f"{path.relative_to(ROOT)}::{name}")
    for path in sorted((ROOT / "tests/js").glob("*.test.js")):
        for number in re.findall(r"""\btest\(\s*["`][sS](\d+):? """, path.read_text()):
            found[f"S{int(number)}"].append(str(path.relative_to(ROOT)))
    return found


def listed() -> list[str]:
    """The numbers of the rows in docs/threats.md, in their order."""
    return re.findall(r"^\| (S\d+) \|", (ROOT / "docs/threats.md").read_text(), re.M)


def test_the_docs_list_every_attack_once_in_order() -> None:
    assert listed() == sorted(NUMBERS, key=lambda number: int(number[1:]))


def test_every_listed_attack_has_a_test_and_no_test_has_an_unknown_number() -> None:
    assert set(numbered_tests()) == set(listed())


def test_the_numbers_in_a_name_are_read() -> None:
    assert numbers_of("test_s01_s02_a_page") == {"S1", "S2"}
    assert numbers_of("test_sessions_are_kept") == set()
