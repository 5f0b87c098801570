"""The source distribution holds all that its own tests import and read."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.servers import ROOT

pytestmark = pytest.mark.service

BUILD = "from hatchling.build import build_sdist; import sys; print(build_sdist(sys.argv[1]))"
SAMPLE = ["tests/core", "tests/docs/test_docs.py", "tests/test_architecture.py"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, built from this checkout."""
    directory = tmp_path_factory.mktemp("sdist")
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(directory)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return directory / built.stdout.split()[-1]


@pytest.fixture(scope="module")
def unpacked(archive: Path) -> Path:
    """The directory of the unpacked source distribution."""
    with tarfile.open(archive) as tar:
        tar.extractall(archive.parent, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def pytest_in(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run pytest there. Only the unpacked files are importable, not those of this checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "TELLTALE_"))}
    environment["PYTHONPATH"] = f"{directory}{os.pathsep}{directory / 'src'}"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


@pytest.mark.timeout(400)
def test_all_tests_of_the_source_distribution_find_what_they_import(unpacked: Path) -> None:
    collected = pytest_in(unpacked, "--collect-only")
    assert collected.returncode == 0, collected.stdout[-3_000:] + collected.stderr[-3_000:]
    assert "error" not in collected.stdout.splitlines()[-1]


@pytest.mark.timeout(400)
def test_tests_pass_in_the_source_distribution(unpacked: Path) -> None:
    passed = pytest_in(unpacked, *SAMPLE)
    assert passed.returncode == 0, passed.stdout[-3_000:] + passed.stderr[-3_000:]


def test_nothing_that_is_made_by_a_build_or_a_test_is_in_the_source_distribution(archive: Path) -> None:
    made = {"node_modules", "__pycache__", "var", ".venv", ".hypothesis", ".mypy_cache", ".ruff_cache"}
    with tarfile.open(archive) as tar:
        assert [name for name in tar.getnames() if made.intersection(name.split("/"))] == []
