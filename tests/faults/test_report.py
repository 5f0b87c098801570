"""The report of a run of `make faults`, made by a real run of pytest over a file of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.faults.report import numbers_of
from tests.servers import ROOT

TESTS = """
import pytest

def test_f03_it_converges(record_property):
    record_property("reconnects", 2)
    record_property("converged_s", 0.5)

def test_s09_f03_it_converges_too():
    pass

def test_f07_it_does_not():
    assert False

@pytest.mark.skip(reason="not on this database")
def test_f28_elsewhere():
    pass

def test_frames_are_no_fault():
    assert False
"""


def test_the_faults_of_a_test_are_in_its_name() -> None:
    assert numbers_of("test_s09_f57_a_sign_out[sse]") == ["F57"]
    assert numbers_of("test_f03_x") == ["F3"]
    assert numbers_of("test_frames_written_together") == []


def test_the_report_says_of_each_fault_whether_it_converged_how_long_it_took_and_what_was_counted(
    tmp_path: Path,
) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    report = tmp_path / "faults.json"
    report.write_text('{"postgresql": {"faults": {}}}')
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.faults.report", "-p", "no:cacheprovider"]
    command += ["--faults-report", str(report), "-c", str(ROOT / "pyproject.toml"), "-m", "", str(tmp_path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    runs = json.loads(report.read_text())
    faults = runs["sqlite"]["faults"]
    assert set(runs) == {"sqlite", "postgresql"}
    assert {fault: found["converged"] for fault, found in faults.items()} == {"F3": True, "F7": False, "F28": None}
    tests = list(faults["F3"]["tests"].values())
    assert [test["outcome"] for test in tests] == ["passed", "passed"]
    assert {"reconnects": 2, "converged_s": 0.5} in [test.get("counters") for test in tests]
    assert [faults[fault]["converged_s"] for fault in ("F3", "F7")] == [0.5, None]
    assert "F3   converged within 0.5 s; 2 tests" in done.stdout
    assert "F7   NOT CONVERGED; 1 tests" in done.stdout
