"""The demo's checks before it starts: errors say what to do."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demo import run
from tests.ports import free_port


def test_a_port_in_use_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run.main({"PORT": port, "DEMO_DIR": str(tmp_path)}) == 1
    output = capsys.readouterr().out
    assert f"Port {port} of 127.0.0.1 can't be used: Address already in use" in output
    assert "PORT=8123 make demo" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["http", "-1", "0", "65536"])
def test_an_invalid_port_is_an_error(port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main({"PORT": port, "DEMO_DIR": str(tmp_path)}) == 1
    assert "not a number from 1 to 65535" in capsys.readouterr().out


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "REQUIRED", ("telltale", "no_such_package"))
    assert run.main({}) == 1
    assert "The demo needs no_such_package. Install it by `make demo`" in capsys.readouterr().out


@pytest.mark.service
def test_ctrl_c_ends_the_demo_and_leaves_no_file_outside_its_directory(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:  # Short: the broker's sockets are in it.
        env = os.environ | {"DEMO_DIR": str(tmp_path), "TMPDIR": temporary, "PORT": str(free_port())}
        command = [sys.executable, "-m", "demo.run"]
        with subprocess.Popen(command, env=env, cwd=run.ROOT, stdout=subprocess.PIPE, text=True) as demo:
            assert demo.stdout is not None
            assert any("The demo is running" in line for line in demo.stdout)
            demo.send_signal(signal.SIGINT)
            assert demo.wait(30) == 0
        assert os.listdir(temporary) == []
