"""The saver's part: saving progress and ends of 10,000 tasks. Prints JSON.

    python -m benchmarks.reporting.database

Uses SQLite in a temporary directory, or the server that `tests.servers` has started.
"""

import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

from benchmarks.reporting.timing import us_each

TASKS = 10_000
SAVED = 2_000
"""Tasks in each repeat."""
PEER_ROWS = 300
"""Rows that the peers save in each repeat."""
REPEATS = 5
ENDS = 40
END_EVERY_S = 0.03

SAVE = "save progress: a task"
PEER_FIELDS = "peer: save(update_fields): a task"
PEER_SAVE = "peer: a model's save(): a task"


def main() -> None:
    """Measure in a database that is removed with its directory or its server."""
    with TemporaryDirectory(prefix="telltale-bench-") as directory:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        os.environ["TELLTALE_BROKER"] = "none://"
        os.environ["TELLTALE_SAVE_EVERY_S"] = "0"
        os.environ["TELLTALE_TEST_CONN_MAX_AGE"] = "600"
        if not any(os.environ.get(f"TELLTALE_TEST_{name}") for name in ("POSTGRES", "MARIADB")):
            os.environ["TELLTALE_TEST_DB"] = str(Path(directory) / "bench.sqlite3")
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        if connection.vendor != "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE bench")
            connection.close()
            connection.settings_dict["NAME"] = "bench"
        call_command("migrate", verbosity=0)
        print(json.dumps(measure()))


def measure() -> dict[str, list[float]]:
    """Microseconds per task, one figure per repeat; milliseconds per end, one figure per end."""
    from telltale import store
    from telltale.core.snapshot import Progress
    from telltale.models import TaskState

    ids = make_running(TASKS)
    progress = Progress(fraction=0.5, current=500, total=1_000, unit="rows", message="Importing")
    changes = [store.Report(id=pk, attempt=1, seq=9, progress=progress, moved_at=1.0) for pk in ids[:SAVED]]
    beats = [store.Report(id=pk, attempt=1, seq=9, progress=progress, is_beat=True) for pk in ids[-SAVED:]]
    rows = list(TaskState.objects.all()[:PEER_ROWS])

    def save_fields() -> None:
        for row in rows:
            row.progress, row.seq, row.beat_at = progress.to_json(), row.seq + 1, time.time()
            row.save(update_fields=["progress", "seq", "beat_at"])

    def save_all_fields() -> None:
        for row in rows:
            row.save()

    figures = {
        SAVE: us_each(lambda: save(changes), SAVED, repeats=REPEATS),
        "renew a quiet lease: a task": us_each(lambda: save(beats), SAVED, repeats=REPEATS),
        PEER_FIELDS: us_each(save_fields, PEER_ROWS, repeats=REPEATS),
        PEER_SAVE: us_each(save_all_fields, PEER_ROWS, repeats=REPEATS),
    }
    figures["an end while nothing else is saved, ms"] = ends(make_running(ENDS))
    stop = threading.Event()
    saver = threading.Thread(target=keep_saving, args=(ids, stop))
    saver.start()
    figures["an end while 10,000 moving tasks are saved, ms"] = ends(make_running(ENDS))
    stop.set()
    saver.join()
    return figures


def make_running(tasks: int) -> list[UUID]:
    """Create rows of running tasks, with leases; returns their ids."""
    from telltale.models import TaskState

    now = time.time()
    common = {"runner": "bench", "name": "work", "label": "Work", "state": "running", "seq": 1}
    clocks = {"created_at": now, "started_at": now, "beat_at": now, "lease_until": now + 600}
    rows = [TaskState(id=uuid4(), **common, **clocks) for _ in range(tasks)]
    return [row.pk for row in TaskState.objects.bulk_create(rows, batch_size=500)]


def save(reports: Sequence[object]) -> None:
    """Save in the saver's batches, without its pauses."""
    from telltale import store

    for start in range(0, len(reports), store.SAVED_AT_ONCE):
        verdicts = store.save(reports[start : start + store.SAVED_AT_ONCE])  # type: ignore[arg-type]
        assert not any(verdict.fenced or verdict.unknown for verdict in verdicts)


def keep_saving(ids: Sequence[UUID], stop: threading.Event) -> None:
    """Run the saver itself, on attempts that always have a change to save."""
    from django.db import connection

    from benchmarks.reporting.sampling import NEVER_S
    from telltale.core.snapshot import Snapshot
    from telltale.core.states import State
    from telltale.store import Claim
    from telltale.worker.attempt import Attempt
    from telltale.worker.saver import Saver

    attempts = []
    for pk in ids:
        attempt = Attempt()
        snapshot = Snapshot(id=str(pk), attempt=1, seq=9, state=State.RUNNING)
        attempt.begin(Claim(id=pk, attempt=1, seq=9, topics=(), snapshot=snapshot), save_every_s=0.0)
        attempt.next_snapshot(now=0.0, beat_s=NEVER_S)
        attempts.append(attempt)
    saver = Saver(lambda: attempts)
    while not stop.is_set():
        for attempt in attempts:
            attempt.tracker.current += 1
            attempt.next_snapshot(now=time.time(), beat_s=NEVER_S)
        saver._save()
    connection.close()


def ends(ids: Sequence[UUID]) -> list[float]:
    """Milliseconds until each end was saved."""
    from telltale import store
    from telltale.core.states import State

    figures = []
    for pk in ids:
        time.sleep(END_EVERY_S)
        began = time.perf_counter()
        assert store.end(pk, 1, State.FAILED, is_owned=False) is not None
        figures.append((time.perf_counter() - began) * 1e3)
    return figures


if __name__ == "__main__":
    main()
