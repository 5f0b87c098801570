"""The saver's part, on the database of the tests' settings: run as a process of its own, it prints JSON.

python -m benchmarks.reporting.database
"""

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

TASKS = 10_000
SAVED = 2_000
"""Of these in each repeat."""
PEERS = 300
REPEATS = 5
ENDS = 40
END_EVERY_S = 0.03


def main() -> None:
    """Measure in a database that goes with its directory, or with its server."""
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
        print(json.dumps(measured()))


def measured() -> dict[str, list[float]]:
    """Microseconds a task, one figure a repeat; waits of ends in milliseconds, one figure an end."""
    from telltale import store
    from telltale.core.snapshot import Progress
    from telltale.models import TaskState

    ids = make_running(TASKS)
    progress = Progress(fraction=0.5, current=500, total=1_000, unit="rows", message="Importing")
    news = [store.Report(id=pk, attempt=1, seq=9, progress=progress, moved_at=1.0) for pk in ids[:SAVED]]
    beats = [store.Report(id=pk, attempt=1, seq=9, progress=progress, is_beat=True) for pk in ids[-SAVED:]]
    rows = list(TaskState.objects.all()[:PEERS])

    def save_fields() -> None:
        for row in rows:
            row.progress, row.seq, row.beat_at = progress.to_json(), row.seq + 1, time.time()
            row.save(update_fields=["progress", "seq", "beat_at"])

    def save_whole() -> None:
        for row in rows:
            row.save()

    figures = {
        "save progress: a task": repeated(lambda: save(news), SAVED),
        "renew a quiet lease: a task": repeated(lambda: save(beats), SAVED),
        "peer: save(update_fields): a task": repeated(save_fields, PEERS),
        "peer: a model's save(): a task": repeated(save_whole, PEERS),
    }
    figures["an end while nothing else is written, ms"] = ends(make_running(ENDS))
    over = threading.Event()
    saver = threading.Thread(target=keep_saving, args=(ids, over))
    saver.start()
    figures["an end while 10,000 moving tasks are saved, ms"] = ends(make_running(ENDS))
    over.set()
    saver.join()
    return figures


def make_running(tasks: int) -> list[UUID]:
    """So many rows that a worker holds."""
    from telltale.models import TaskState

    now = time.time()
    common = {"runner": "bench", "name": "work", "label": "Work", "state": "running", "seq": 1}
    clocks = {"created_at": now, "started_at": now, "beat_at": now, "lease_until": now + 600}
    rows = [TaskState(id=uuid4(), **common, **clocks) for _ in range(tasks)]
    return [row.pk for row in TaskState.objects.bulk_create(rows, batch_size=500)]


def save(reports: Sequence[object]) -> None:
    """As the saver cuts them, without its pauses."""
    from telltale import store

    for first in range(0, len(reports), store.SAVED_AT_ONCE):
        verdicts = store.save(reports[first : first + store.SAVED_AT_ONCE])  # type: ignore[arg-type]
        assert not any(verdict.fenced or verdict.unknown for verdict in verdicts)


def keep_saving(ids: Sequence[UUID], over: threading.Event) -> None:
    """The saver itself, with attempts that have always moved since."""
    from django.db import connection

    from benchmarks.reporting.looks import NEVER_S
    from telltale.core.snapshot import Snapshot
    from telltale.core.states import State
    from telltale.store import Claim
    from telltale.worker.attempt import Attempt
    from telltale.worker.saver import Saver

    attempts = []
    for pk in ids:
        attempts.append(Attempt())
        snapshot = Snapshot(id=str(pk), attempt=1, seq=9, state=State.RUNNING)
        attempts[-1].begin(Claim(id=pk, attempt=1, seq=9, topics=(), snapshot=snapshot), save_every_s=0.0)
        attempts[-1].next_snapshot(now=0.0, beat_s=NEVER_S)
    saver = Saver(lambda: attempts)
    while not over.is_set():
        for attempt in attempts:
            attempt.tracker.current += 1
            attempt.next_snapshot(now=time.time(), beat_s=NEVER_S)
        saver._save()
    connection.close()


def ends(ids: Sequence[UUID]) -> list[float]:
    """Milliseconds until each end was on disk."""
    from telltale import store
    from telltale.core.states import State

    figures = []
    for pk in ids:
        time.sleep(END_EVERY_S)
        began = time.perf_counter()
        assert store.end(pk, 1, State.FAILED, is_owned=False) is not None
        figures.append((time.perf_counter() - began) * 1e3)
    return figures


def repeated(run: Callable[[], None], tasks: int) -> list[float]:
    """Microseconds a task of each repeat."""
    figures = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        run()
        figures.append((time.perf_counter() - began) / tasks * 1e6)
    return figures


if __name__ == "__main__":
    main()
