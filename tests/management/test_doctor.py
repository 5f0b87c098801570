"""`telltale doctor` finds what is wrong with a set-up, and names the setting to change. Most tests break one thing."""

import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection, connections
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from telltale import store
from telltale.brokers.base import Deliver, Listener, Message, Missed, Reach
from telltale.brokers.none import NoneBroker
from telltale.management.doctor import broker as broker_examination
from telltale.management.doctor import database, fetch, workers
from telltale.management.doctor.command import examine, report
from telltale.management.doctor.finding import Finding
from telltale.management.doctor.site import examine_site
from telltale.models import TaskState
from tests.factories import started, task_of
from tests.servers import ROOT
from tests.transports.sites import environment, in_a_thread

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def working(settings: Any) -> Iterator[None]:
    """A set-up in which nothing is wrong."""
    with tempfile.TemporaryDirectory(prefix="d-") as directory:  # a socket's path is short
        settings.TELLTALE = {"BROKER": f"local://{directory}/sockets"}
        yield


def only(findings: list[Finding]) -> Finding:
    [finding] = findings
    return finding


def found(id: str) -> Finding:
    """The only finding, which must have this id."""
    finding = only(examine(None))
    assert finding.id == id, finding
    return finding


# The report


def test_a_set_up_that_works_has_no_findings_and_the_exit_code_0() -> None:
    out = io.StringIO()
    call_command("telltale", "doctor", stdout=out)
    assert out.getvalue().startswith("No problems found. Examined: settings, database, broker, workers.")


def test_a_finding_says_what_was_found_why_it_matters_and_what_to_set_and_the_exit_code_is_1(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://"}
    out = io.StringIO()
    with pytest.raises(SystemExit) as exited:
        call_command("telltale", "doctor", stdout=out)
    assert exited.value.code == 1
    text = out.getvalue()
    assert "Found: TELLTALE['BROKER'] is 'memory://', which reaches one process only." in text
    assert "Why:   What workers and other web processes publish is not heard." in text
    assert "Do:    TELLTALE['BROKER'] = 'local://' on one machine" in text
    assert "1 problem found." in text


def test_the_report_as_json_is_for_programs(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://"}
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command("telltale", "doctor", "--json", stdout=out)
    content = json.loads(out.getvalue())
    assert content["ok"] is False
    assert content["examined"] == ["settings", "database", "broker", "workers"]
    assert [set(finding) for finding in content["findings"]] == [{"id", "found", "why", "setting"}]


def test_an_examination_that_fails_is_a_finding_and_the_others_go_on(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "tests.management.test_doctor.Broken"}
    finding = found("broker-failed")
    assert "RuntimeError: This broker is broken." in finding.found
    lines: list[str] = []
    report([finding], url=None, is_json=False, write=lines.append)
    assert "Examined: settings, database, broker, workers." in "\n".join(lines)


def test_an_address_without_a_scheme_is_refused_with_the_rule() -> None:
    with pytest.raises(CommandError, match="give the site's whole address"):
        call_command("telltale", "doctor", "--url", "example.com")


def test_the_docs_list_every_finding() -> None:
    sources = (ROOT / "src/telltale/management/doctor").glob("*.py")
    ids = {id for source in sources for id in re.findall(r'\bid="([a-z-]+)"', source.read_text())}
    listed = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/doctor.md").read_text(), re.M)
    assert len(ids) > 12
    assert sorted(listed) == sorted(ids)


@pytest.mark.service
def test_an_error_of_the_system_checks_does_not_keep_the_doctor_from_examining_the_rest() -> None:
    env = {
        **os.environ,
        **environment(),
        "TELLTALE_MORE": json.dumps({"RUNNERS": ["celery"], "LONG_POLL_S": 600.0, "BROKER": "memory://"}),
    }
    words = [sys.executable, "-W", "ignore", "-m", "django", "telltale", "doctor", "--json"]
    finished = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert finished.returncode == 1, finished.stderr
    ids = [finding["id"] for finding in json.loads(finished.stdout)["findings"]]
    assert ids == ["telltale.E002", "broker-process-only"]


# Settings


def test_what_check_knows_is_found(settings: Any) -> None:
    settings.TELLTALE = {**settings.TELLTALE, "LONG_POLL_S": 600.0}
    finding = found("telltale.E002")
    assert "TELLTALE['LONG_POLL_S'] is 600" in finding.found
    assert "1 to 55" in finding.setting


# The broker


class Broken(NoneBroker):
    """Raises what no broker should."""

    reach = Reach.SITE

    def publish(self, messages: Any) -> None:
        raise RuntimeError("This broker is broken.")


class Deaf(NoneBroker):
    """Takes messages and delivers none, as between two services that are not one."""

    reach = Reach.SITE


class Selective(NoneBroker):
    """Delivers what two objects of it exchange; loses the first two messages."""

    reach = Reach.SITE
    delivers: list[Deliver] = []
    lost: list[Message] = []

    def publish(self, messages: Any) -> None:
        if len(self.lost) < 2:
            self.lost.extend(messages)
            return
        for deliver in self.delivers:
            deliver([message.body for message in messages])

    def listen(self, deliver: Deliver, missed: Missed) -> Listener:
        self.delivers.append(deliver)
        return super().listen(deliver, missed)


def test_a_broker_that_cannot_be_reached_is_found(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_examination, "WAIT_S", 1.0)
    settings.TELLTALE = {"BROKER": "redis://user:s3cret@127.0.0.1:1/0"}
    finding = found("broker-unreachable")
    assert "127.0.0.1:1" in finding.found
    assert "s3cret" not in str(finding)
    assert "TELLTALE['BROKER']" in finding.setting


def test_a_broker_that_reaches_one_process_only_is_found_once(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "memory://"}
    found("broker-process-only")


def test_the_in_memory_layer_of_channels_is_found(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.TELLTALE = {"BROKER": "channels://default"}
    finding = found("broker-process-only")
    assert "in-memory layer" in finding.found
    assert "channels_redis.core.RedisChannelLayer" in finding.setting


def test_a_broker_that_does_not_reach_another_connection_is_found(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_examination, "WAIT_S", 1.0)
    settings.TELLTALE = {"BROKER": "tests.management.test_doctor.Deaf"}
    finding = found("broker-deaf")
    assert "one and the same service in TELLTALE['BROKER'] of all processes" in finding.setting


def test_a_broker_that_loses_a_message_now_and_then_is_none_of_these(settings: Any) -> None:
    Selective.delivers, Selective.lost = [], []
    settings.TELLTALE = {"BROKER": "tests.management.test_doctor.Selective"}
    assert examine(None) == []
    assert len(Selective.lost) == 2


def test_a_site_without_a_broker_is_right_too(settings: Any) -> None:
    settings.TELLTALE = {"BROKER": "none://"}
    assert examine(None) == []


# The database


def test_a_database_that_cannot_be_reached_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("connection refused")

    connection.close()
    monkeypatch.setattr(connection, "connect", refuse)
    finding = found("database-unreachable")
    assert "connection refused" in finding.found
    assert 'DATABASES["default"]' in finding.setting


def test_migrations_that_were_not_applied_are_found() -> None:
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("telltale", "0001_initial")
    try:
        finding = found("migrations-pending")
    finally:
        recorder.record_applied("telltale", "0001_initial")
    assert "telltale.0001_initial" in finding.found
    assert "manage.py migrate" in finding.setting


def test_a_clock_that_differs_from_the_databases_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(database._clock("default")) == []
    monkeypatch.setattr(database, "time", SimpleNamespace(time=lambda: store.now() + 61.0))
    finding = only(list(database._clock("default")))
    assert finding.id == "clock-skew"
    assert "61.0 s behind this machine's" in finding.found
    assert "NTP" in finding.setting


@contextmanager
def sqlite_at(path: Path, **options: Any) -> Iterator[None]:
    """A database "other" on SQLite, in a file."""
    other = connections.create_connection("default")
    values = {**other.settings_dict, "ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": options}
    from django.db.backends.sqlite3.base import DatabaseWrapper

    connections["other"] = DatabaseWrapper(values, "other")
    connections["other"].inc_thread_sharing()
    try:
        yield
    finally:
        connections["other"].close()
        del connections["other"]


def test_sqlite_without_a_write_ahead_log_is_found_whatever_the_settings_say(
    tmp_path: Path, django_db_blocker: Any
) -> None:
    path = tmp_path / "site.sqlite3"
    sqlite3.connect(path).close()
    with sqlite_at(path, timeout=20):
        finding = only(list(database._sqlite("other")))
    assert finding.id == "sqlite-no-wal"
    assert "mode 'delete', not 'wal'" in finding.found
    assert 'DATABASES["other"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL;' in finding.setting


def test_sqlite_that_waits_too_short_for_a_lock_is_found(tmp_path: Path) -> None:
    with sqlite_at(tmp_path / "site.sqlite3", timeout=1, init_command="PRAGMA journal_mode=WAL;"):
        finding = only(list(database._sqlite("other")))
    assert finding.id == "sqlite-short-timeout"
    assert "wait only 1 s" in finding.found
    assert 'DATABASES["other"]["OPTIONS"]["timeout"] = 20' in finding.setting


# Workers and queues


def test_a_worker_without_a_heartbeat_is_found_and_its_task_is_left_as_it_is() -> None:
    claim = started(task_of())
    TaskState.objects.filter(pk=claim.id).update(lease_until=store.now() - 1.0)
    finding = found("worker-without-heartbeat")
    assert "Tasks that run without a heartbeat for more than 105 s: 1. Their workers: w1." in finding.found
    assert TaskState.objects.get().state == "running"


def queued(*, runner: str, name: str = "tests.app.q_tasks.count", number: int = 1) -> None:
    """Tasks that wait for longer than a worker takes."""
    for _ in range(number):
        task = store.queue(runner=runner, name=name, label="Count").task
        TaskState.objects.filter(pk=task.pk).update(created_at=store.now() - 60.0)


def test_tasks_that_no_worker_takes_are_found() -> None:
    queued(runner="django_q", number=3)
    finding = found("queue-not-consumed")
    assert "No worker of django_q takes the tasks tests.app.q_tasks.count, which wait: 3." in finding.found
    assert "Start a worker of django_q" in finding.setting


def test_tasks_of_a_runner_that_is_not_installed_are_found() -> None:
    queued(runner="nemo")
    assert "TELLTALE['RUNNERS']" in found("queue-unknown-runner").setting


def test_a_runner_whose_service_is_down_is_found() -> None:
    queued(runner="rq", name="tests.app.rq_tasks.count")
    assert "The runner 'rq' can't be asked for its workers" in found("queue-unreachable").found


def test_tasks_that_are_due_later_or_were_queued_just_now_are_no_finding() -> None:
    queued(runner="nemo")
    TaskState.objects.update(due_at=store.now() + 3_600.0)
    store.queue(runner="nemo", name="x", label="X")
    assert examine(None) == []


def test_many_waiting_tasks_are_counted_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "EXAMINED", 2)
    queued(runner="nemo", number=3)
    assert "wait: 2 or more." in found("queue-unknown-runner").found


# The running site


class Front:
    """A web server with Telltale's real page and files, which a test can spoil."""

    def __init__(self) -> None:
        self.page_headers: dict[str, str] = {}
        self.page_status = 200
        self.static_status = 200
        self.static_type: str | None = None
        self.stream_status = 200
        self.stream_headers: dict[str, str] = {}
        self.is_held = False
        """Whether the stream's first bytes are held back, as by a proxy that collects them."""
        self.released = threading.Event()
        self.page = Client().get("/telltale/tasks/", headers={"accept": "text/html"}).content
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.answer(self)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path.startswith("/static/"):
            self._static(request)
        elif request.path == "/telltale/live/":
            self._stream(request)
        else:
            self._send(request, self.page_status, {"Content-Type": "text/html", **self.page_headers}, self.page)

    def _static(self, request: BaseHTTPRequestHandler) -> None:
        path = finders.find(request.path.removeprefix("/static/"))
        assert isinstance(path, str), request.path
        kind = "text/css" if path.endswith(".css") else "text/javascript"
        self._send(request, self.static_status, {"Content-Type": self.static_type or kind}, Path(path).read_bytes())

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        assert request.headers["Authorization"].startswith("Bearer ")
        if self.is_held:
            self.released.wait(60)
        headers = {"Content-Type": "text/event-stream", **self.stream_headers}
        self._send(request, self.stream_status, headers, b":\n\n")

    def _send(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        try:
            request.send_response(status)
            for name, value in headers.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass  # The doctor has gone.

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)


@pytest.fixture
def front() -> Iterator[Front]:
    server = Front()
    yield server
    server.close()


@pytest.fixture
def at_site(front: Front) -> Callable[[], Finding]:
    """Returns a function that returns the only finding about the site."""
    return lambda: only(list(examine_site(front.url)))


def test_a_site_whose_files_and_stream_arrive_has_no_findings(front: Front) -> None:
    assert examine(front.url) == []


def test_a_site_that_cannot_be_reached_is_found(front: Front) -> None:
    front.close()
    assert only(list(examine_site(front.url))).id == "site-unreachable"


def test_a_site_that_refuses_the_page_is_found(front: Front, at_site: Any) -> None:
    front.page_status = 400
    finding = at_site()
    assert finding.id == "page-refused"
    assert "add '127.0.0.1' to ALLOWED_HOSTS" in finding.setting


@pytest.mark.parametrize(("status", "kind"), [(404, None), (200, "text/html"), (200, "text/plain")])
def test_static_files_that_do_not_arrive_are_found(front: Front, at_site: Any, status: int, kind: str | None) -> None:
    front.static_status, front.static_type = status, kind
    finding = at_site()
    assert finding.id == "static-missing"
    assert "collectstatic" in finding.setting


def test_static_files_of_another_origin_without_the_header_are_found(front: Front, at_site: Any) -> None:
    cdn = Front()
    try:
        front.page = front.page.replace(b'"/static/', f'"{cdn.url}static/'.encode())
        assert at_site().id == "static-cross-origin"
    finally:
        cdn.close()


@pytest.mark.parametrize(
    "policy",
    ["default-src 'none'; connect-src 'self'", "script-src 'nonce-other' 'strict-dynamic'", "script-src 'self'"],
)
def test_a_policy_that_blocks_scripts_is_found(front: Front, at_site: Any, policy: str) -> None:
    front.page_headers["Content-Security-Policy"] = policy
    finding = at_site()
    assert finding.id == "policy-blocks"
    assert "'strict-dynamic'" in finding.setting


def test_a_policy_that_blocks_the_live_address_is_found(front: Front, at_site: Any) -> None:
    front.page_headers["Content-Security-Policy"] = "connect-src https://api.example.com"
    assert at_site().id == "policy-blocks-live"


def test_the_documented_policy_is_none_of_these(front: Front) -> None:
    front.page = front.page.replace(b"<script ", b'<script nonce="abc" ').replace(
        b'<link rel="modulepreload"', b'<link rel="modulepreload" nonce="abc"'
    )
    front.page_headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'nonce-abc' 'strict-dynamic'; style-src 'self'; connect-src 'self'"
    )
    assert list(examine_site(front.url)) == []


def test_a_proxy_that_collects_the_stream_is_found(front: Front, at_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT_S", 2.0)
    front.is_held = True
    finding = at_site()
    assert finding.id == "stream-buffered"
    assert "proxy_buffering off;" in finding.setting


def test_a_stream_that_is_compressed_is_found(front: Front, at_site: Any) -> None:
    front.stream_headers["Content-Encoding"] = "gzip"
    finding = at_site()
    assert finding.id == "stream-compressed"
    assert "gzip_types" in finding.setting


def test_a_live_address_that_is_refused_is_found(front: Front, at_site: Any) -> None:
    front.stream_status = 403
    finding = at_site()
    assert finding.id == "live-refused"
    assert "SECRET_KEY" in finding.setting


def test_a_site_under_wsgi_polls_which_is_no_finding(front: Front) -> None:
    front.stream_status = 406
    assert list(examine_site(front.url)) == []


@pytest.mark.service
def test_the_stream_of_a_real_server_is_no_finding(settings: Any) -> None:
    with in_a_thread("uvicorn") as site:
        assert "live-refused" not in {finding.id for finding in examine_site(f"http://127.0.0.1:{site.port}/")}
        from telltale.management.doctor.site import _stream

        assert list(_stream(f"http://127.0.0.1:{site.port}/telltale/live/")) == []
