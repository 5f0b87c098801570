"""One directory for everything that a test run writes. The process that made it removes it when it exits.

Temporary files go there too, those of worker processes and servers included: they inherit `TMPDIR`. So a test run
leaves nothing outside its own directory, which `.ci/leaves-nothing` checks.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

VARIABLE = "TELLTALE_TEST_DIR"


def scratch_directory() -> Path:
    """The run's directory; made by the first process that asks."""
    if VARIABLE not in os.environ:
        _make()
    return Path(os.environ[VARIABLE])


def _make() -> None:
    directory = tempfile.mkdtemp(prefix="tt-")  # Short: Unix sockets' paths are limited to about 100 bytes.
    os.chmod(directory, 0o711)  # noqa: S103 (database servers run as users of their own)
    os.environ[VARIABLE] = os.environ["TMPDIR"] = tempfile.tempdir = directory
    os.environ.pop("XDG_RUNTIME_DIR", None)
    atexit.register(_remove, directory, os.getpid())


def _remove(directory: str, made_by: int) -> None:
    if os.getpid() == made_by:  # Forked children run exit handlers too.
        shutil.rmtree(directory, ignore_errors=True)
