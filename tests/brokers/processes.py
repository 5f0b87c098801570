"""Code that a test runs in another process of the site."""

import os
import subprocess
import sys

from tests.servers import ROOT


def run_process(code: str, *arguments: str, warnings: str = "error", **env: str) -> str:
    """Run Python code, which must end by itself without an error; return its output. `warnings`: Python's `-W`."""
    process = subprocess.run(
        [sys.executable, "-W", warnings, "-c", code, *arguments],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    return process.stdout
