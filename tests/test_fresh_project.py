"""A project made by `startproject`, with the lines of the README only, in processes of its own."""

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.docs.test_readme import IN_SETTINGS
from tests.servers import ROOT, free_port

pytestmark = pytest.mark.service

SCRIPT = "/static/telltale/"
PATIENCE_S = 60.0

VIEW = """
from django.http import HttpResponse
urlpatterns += [path("static/made.txt", lambda request: HttpResponse("by a view"))]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project with the lines of the README, and with a view of its own below STATIC_URL."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", str(tmp_path)], check=True)
    settings, urls, asgi = (tmp_path / "mysite" / f"{name}.py" for name in ("settings", "urls", "asgi"))
    in_settings, in_urls, in_asgi = re.split(r"# (?:urls|asgi)\.py.*\n", IN_SETTINGS)
    with settings.open("a") as file:
        file.write(in_settings.replace("[...", "[*INSTALLED_APPS", 1).replace("[...", "[*MIDDLEWARE", 1))
    with urls.open("a") as file:
        file.write(in_urls.replace("[...", "[*urlpatterns") + VIEW)
    asgi.write_text(asgi.read_text().replace("from django.core.asgi import get_asgi_application\n", in_asgi))
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=tmp_path, env=env_of(), check=True)
    return tmp_path


def env_of() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), "DJANGO_SETTINGS_MODULE": "mysite.settings"}


@contextmanager
def served(project: Path) -> Iterator[httpx.Client]:
    """Serve the project by uvicorn with its default options."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "mysite.asgi:application", "--port", str(port)]
    with (project / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=project, env=env_of(), stdout=log, stderr=subprocess.STDOUT)
    try:
        give_up_at = time.monotonic() + PATIENCE_S
        while "running on" not in (log_text := (project / "log").read_text()):
            assert process.poll() is None, log_text
            assert time.monotonic() < give_up_at, log_text
            time.sleep(0.05)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_uvicorn_serves_the_scripts_only_under_debug(project: Path) -> None:
    scripts = ROOT / "src/telltale/static/telltale"
    files = sorted(path.relative_to(scripts).as_posix() for path in scripts.rglob("*.js"))
    with served(project) as client:
        assert {client.get(SCRIPT + name).status_code for name in files} == {200}
        assert client.get("/static/admin/css/base.css").status_code == 200
        assert client.get("/static/made.txt").text == "by a view"
        assert client.get("/static/none.txt").status_code == 404
        assert client.get("/static/%2e%2e/%2e%2e/manage.py").status_code == 404
        assert client.get("/telltale/live/").status_code == 401
    settings = project / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "\nDEBUG, ALLOWED_HOSTS = False, ['127.0.0.1']\n")
    with served(project) as client:
        assert {client.get(SCRIPT + name).status_code for name in files} == {404}
        assert client.get("/static/made.txt").text == "by a view"


@pytest.mark.parametrize("options", [[], ["--port", "9"], ["--port=9", "--processes", "2"]])
def test_serve_without_its_extra_names_what_to_install(project: Path, options: list[str]) -> None:
    run = (
        "import sys; sys.modules['uvicorn'] = None; from django.core.management import execute_from_command_line; "
        f"execute_from_command_line(['manage.py', 'telltale', 'serve', *{options!r}])"
    )
    finished = subprocess.run([sys.executable, "-c", run], cwd=project, env=env_of(), capture_output=True, text=True)
    assert finished.returncode == 1
    assert "pip install django-telltale[server]" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_extra_for_celery_includes_celerys_requirements_for_redis() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert [line.partition(">")[0] for line in extras["celery"]] == ["celery[redis]"]
