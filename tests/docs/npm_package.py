"""The npm package `telltale`, packed from this checkout and installed into a folder, beside the frameworks."""

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

from tests.servers import ROOT

FRAMEWORKS: Final = ROOT / "tests" / "docs" / "frameworks"
SOURCES: Final = ("package.json", "jsconfig.json", "README.md", "LICENSE", "src/telltale/static/telltale")


def run(*command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def install(directory: Path) -> None:
    """Pack the package, and put it and the frameworks into `directory / "node_modules"`."""
    checkout = directory / "checkout"
    for name in SOURCES:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, checkout / name)
    (checkout / "node_modules").symlink_to(ROOT / "node_modules")
    (checkout / "tests" / "docs").mkdir(parents=True)
    (checkout / "tests" / "docs" / "frameworks").symlink_to(FRAMEWORKS)
    packed = run("npm", "pack", "--pack-destination", str(directory), cwd=checkout)
    assert packed.returncode == 0, packed.stderr
    modules = directory / "node_modules"
    modules.mkdir()
    for path in (FRAMEWORKS / "node_modules").iterdir():
        if not path.name.startswith("."):
            (modules / path.name).symlink_to(path)
    [archive] = directory.glob("*.tgz")
    with tarfile.open(archive) as tar:
        tar.extractall(modules, filter="data")
    (modules / "package").rename(modules / "telltale")
