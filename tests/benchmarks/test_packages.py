"""The packages of the benchmarks import each other in one direction."""

import ast
from collections.abc import Iterator
from pathlib import Path

import benchmarks

ROOT = Path(benchmarks.__file__).parent

# Each package imports only packages of earlier lines.
ORDER = [
    {"rig"},
    {"contenders"},
    {"experiments"},
    {"results"},
    {"capacity", "channels", "growth", "page", "reporting"},
    {"__main__"},
]
LEVELS = {package: level for level, packages in enumerate(ORDER) for package in packages}


def imports() -> Iterator[tuple[Path, str, str]]:
    """Each file, its package, and a package of the benchmarks that it imports."""
    for path in sorted(ROOT.rglob("*.py")):
        package = path.relative_to(ROOT).with_suffix("").parts[0]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("benchmarks."):
                yield path, package, node.module.split(".")[1]


def test_each_package_imports_only_earlier_packages() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path, package, imported in imports()
        if package != imported and LEVELS[imported] >= LEVELS[package]
    ]
    assert wrong == []


def test_every_package_has_its_place_in_the_order() -> None:
    packages = {path.relative_to(ROOT).with_suffix("").parts[0] for path in ROOT.rglob("*.py")}
    assert packages - {"__init__"} == set(LEVELS)
