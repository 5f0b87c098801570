"""The record of a run: a JSON file in var/bench/, with what was run where, every reading, and the rows made of them."""

import importlib.metadata
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.report.judge import judged
from benchmarks.rig.contender import PEERS_PYTHON
from benchmarks.visits.run import Reading

HOME: Final = Path("var/bench")
NAMES: Final = ("channels", "channels_redis", "django", "django-eventstream", "hiredis", "httptools", "python-socketio")
"""Of the peers' environment, besides those of `OURS`."""
OURS: Final = ("django", "hiredis", "httptools", "uvicorn", "uvloop", "websockets")


def write(readings: list[Reading], *, quick: bool, is_whole: bool) -> Path:
    """Keep it; returns where. One that is not whole, for some visits were left out, is never the `newest`."""
    record = {
        "began_at": time.strftime("%Y-%m-%d %H:%M"),
        "quick": quick,
        "machine": machine(),
        "readings": [reading.to_json() for reading in readings],
        "rows": [row.to_json() for row in judged(readings)],
    }
    HOME.mkdir(parents=True, exist_ok=True)
    path = HOME / f"{'live' if is_whole else 'part'}-{time.strftime('%Y-%m-%d-%H%M')}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False))
    return path


def newest() -> Path:
    """The latest record of a whole run."""
    records = sorted(HOME.glob("live-*.json"))
    if not records:
        raise FileNotFoundError(f"There is no record in {HOME}/: run `python -m benchmarks` first.")
    return records[-1]


def read(path: Path) -> dict[str, Any]:
    """A record as it was written."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def machine() -> dict[str, Any]:
    """What it ran on and with."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].split(":", 1)[1].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ours": {name: importlib.metadata.version(name) for name in OURS},
        "peers": _peers(),
    }


def _peers() -> dict[str, str]:
    names = sorted({*NAMES, *OURS})
    code = f"import importlib.metadata as m, json; print(json.dumps({{n: m.version(n) for n in {names}}}))"
    out = subprocess.run([PEERS_PYTHON, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
    versions: dict[str, str] = json.loads(out)
    return versions
