"""The record of a run: a JSON file in var/bench/ with the machine, the versions, all results and the table's rows."""

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.experiments.run import Result
from benchmarks.results.judge import judge_rows
from benchmarks.rig import machine
from benchmarks.rig.contender import PEERS_PYTHON
from benchmarks.rig.paths import RECORDS

OUR_PACKAGES: Final = ("django", "hiredis", "httptools", "uvicorn", "uvloop", "websockets")
PEER_PACKAGES: Final = ("channels", "channels_redis", "django-eventstream", "python-socketio", *OUR_PACKAGES)

Record = dict[str, Any]


def write(results: list[Result], *, is_quick: bool, is_complete: bool) -> Path:
    """Write the record and return its path. A record that is not complete, with `--only`, is never the `newest`."""
    record = {
        "began_at": time.strftime("%Y-%m-%d %H:%M"),
        "quick": is_quick,
        "machine": environment(),
        "results": [result.to_json() for result in results],
        "rows": [row.to_json() for row in judge_rows(results)],
    }
    RECORDS.mkdir(parents=True, exist_ok=True)
    path = RECORDS / f"{'live' if is_complete else 'part'}-{time.strftime('%Y-%m-%d-%H%M')}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False))
    return path


def newest() -> Path:
    """The latest complete record; raises `FileNotFoundError` if there is none."""
    records = sorted(RECORDS.glob("live-*.json"))
    if not records:
        raise FileNotFoundError(f"There is no record in {RECORDS}/: run `python -m benchmarks` first.")
    return records[-1]


def read(path: Path) -> Record:
    """A record as it was written."""
    record: Record = json.loads(path.read_text())
    return record


def environment() -> dict[str, Any]:
    """The machine, and the versions of Python and of the packages."""
    return {
        "cpu": machine.cpu_model(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ours": {name: importlib.metadata.version(name) for name in OUR_PACKAGES},
        "peers": _peer_versions(),
    }


def _peer_versions() -> dict[str, str]:
    code = (
        f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {sorted(PEER_PACKAGES)}}}))"
    )
    out = subprocess.run([PEERS_PYTHON, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    versions: dict[str, str] = json.loads(out)
    return versions
