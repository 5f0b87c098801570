"""Records what this version sends and writes: `python -m tests.upgrade.record 0.1` writes tests/upgrade/0.1/.

Done once, when a version is released, and never changed after that: the tests of later versions read it. Until then,
`--again` records it anew.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import django

FOLDER: Final = Path(__file__).parent
ROOT: Final = FOLDER.parents[1]
STATIC: Final = ROOT / "src" / "telltale" / "static"
CLIENT_EXPORTS: Final = (
    'export { websocket } from "telltale/live/websocket.js"\n'
    'export { Snapshots } from "telltale/live/snapshots.js"\n'
    'export { Live } from "telltale/live/live.js"\n'
)


def main() -> int:
    """Write the record of the version in the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--again", action="store_true", help="write it again, for a version that is not released yet")
    options = parser.parse_args()
    folder = FOLDER / options.version
    if folder.exists() and not options.again:
        sys.stderr.write(f"{folder} exists. The record of a released version is never changed.\n")
        return 1
    folder.mkdir(exist_ok=True)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from tests.upgrade import samples

    for name, content in samples.all_samples().items():
        write(folder / f"{name}.json", content)
    bundle(folder / "client.mjs")
    return 0


def write(path: Path, content: Any) -> None:
    """Write JSON that people can compare."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def bundle(path: Path) -> None:
    """Write the client for browsers as one file that node can import."""
    esbuild = ROOT / "node_modules" / ".bin" / "esbuild"
    command = [str(esbuild), "--bundle", "--format=esm", "--minify", f"--alias:telltale={STATIC / 'telltale'}"]
    command += [f"--outfile={path}", "--log-level=warning", "--charset=utf8"]
    subprocess.run(command, input=CLIENT_EXPORTS, text=True, check=True, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
