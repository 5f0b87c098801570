"""What the tests of processes run as processes of their own: `python -m tests.worker.child <what> <task id>`."""

import os
import sys
import time

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

import telltale  # noqa: E402 (Django first)
from telltale import store  # noqa: E402
from telltale.worker.run import attempt  # noqa: E402


def hold(task_id: str) -> None:
    """Run until killed."""
    with attempt(task_id=task_id):
        for _ in telltale.progress(iter(int, 1)):
            time.sleep(0.01)


def exit_at_once(task_id: str) -> None:
    """Leave the process without a moment for its threads."""
    with attempt(task_id=task_id) as tracker:
        tracker.current = 3
    sys.stdout.flush()
    os._exit(0)


def leave(task_id: str) -> None:
    """Fail, and let the interpreter shut down in its own way."""
    with attempt(task_id=task_id):
        raise telltale.TaskError("Row 7 has no name.")


def fork(task_id: str) -> None:
    """Report from this process, then from a forked child, as a prefork pool does."""
    with telltale.track("In the parent") as tracker:
        tracker.current = 1
        time.sleep(0.5)
    time.sleep(1.0)  # SQLite is not to be forked while a thread is within it
    child = os.fork()
    if child == 0:
        with attempt(task_id=task_id) as tracker:
            tracker.current, tracker.total = 1, 2
            time.sleep(4.0)
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def join(key: str) -> None:
    """Ask for the task of a key, at a moment that all have agreed on; say which one it is."""
    moment, name = key.split(":")
    time.sleep(max(0.0, float(moment) - time.time()))
    print(store.queue(runner="tests", name="tests.join", key=name).task.pk)  # noqa: T201


if __name__ == "__main__":
    {"hold": hold, "exit_at_once": exit_at_once, "leave": leave, "fork": fork, "join": join}[sys.argv[1]](sys.argv[2])
