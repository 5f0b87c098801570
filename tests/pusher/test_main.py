"""`python -m telltale.pusher`: what it says when it can't serve."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT

APP = ["--app-id", "1", "--key", "k", "--secret", "s"]


def failure(*options: str, before: str = "pass") -> str:
    """Return what the command writes to stderr; it must end by itself, with the exit code of a wrong command."""
    code = f"import sys; {before}; from telltale.pusher.__main__ import main; sys.exit(main({list(options)!r}))"
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "src", capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2, finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr


def test_without_its_libraries_it_names_the_extra() -> None:
    assert "pip install django-telltale[server]" in failure(*APP, before="sys.modules['uvicorn'] = None")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "--app-id, --key, --secret: missing"),
        (["--app-id", "1", "--secret", "s"], "--key: missing"),
        (["--app-id", "one", "--key", "k", "--secret", "s"], "digits"),
        ([*APP, "--ssl-certfile", "/nowhere.pem"], "/nowhere.pem"),
        ([*APP, "--host", "192.0.2.1"], "Can't listen on port"),
        ([*APP, "--broker", "carrier-pigeon://"], "carrier-pigeon"),
        (["--apps", "/nowhere.json"], "/nowhere.json can't be read"),
    ],
)
def test_a_wrong_option_is_named(options: list[str], named: str) -> None:
    assert named in failure(*options)


@pytest.mark.parametrize(
    ("content", "named"),
    [("{", "can't be read"), ("{}", "is no JSON list"), ('[{"ID": "1", "KEY": "k"}]', "SECRET")],
)
def test_a_wrong_file_of_apps_is_explained(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "apps.json"
    path.write_text(content)
    assert named in failure("--apps", str(path))
