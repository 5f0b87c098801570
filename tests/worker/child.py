"""The child processes of `test_processes.py`: `python -m tests.worker.child <function> <argument>`."""

import ctypes
import os
import resource
import signal
import sys
import time
from pathlib import Path
from uuid import UUID

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

import telltale  # noqa: E402 (Django first)
from telltale import store  # noqa: E402
from telltale.worker.run import run_attempt  # noqa: E402


def hold(task_id: str) -> None:
    """Run until killed."""
    with run_attempt(task_id=task_id):
        for _ in telltale.progress(iter(int, 1)):
            time.sleep(0.01)


def exit_at_once(task_id: str) -> None:
    """Exit at once after the end, without waiting for the threads."""
    with run_attempt(task_id=task_id) as tracker:
        tracker.current = 3
    sys.stdout.flush()
    os._exit(0)


def fail(task_id: str) -> None:
    """Fail, and let the interpreter shut down normally."""
    with run_attempt(task_id=task_id):
        raise telltale.TaskError("Row 7 has no name.")


def raise_error(argument: str) -> None:
    """Raise in the task. `argument`: `<kind>:<task id>`."""
    kind, task_id = argument.split(":")
    with run_attempt(task_id=task_id):
        RAISE[kind]()


def exceed_recursion() -> None:
    exceed_recursion()


def use_up_memory() -> None:
    """Ask for memory until there is none, which is soon."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 200_000_000, resource.RLIM_INFINITY))
    blocks = []
    while True:
        blocks.append(bytearray(10_000_000))


def crash() -> None:
    """Read from an address that no process may read."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def interrupt() -> None:
    raise KeyboardInterrupt


RAISE = {
    "exit": sys.exit,
    "interrupt": interrupt,
    "recursion": exceed_recursion,
    "memory": use_up_memory,
    "crash": crash,
}


def fill_disk(task_id: str) -> None:
    """Begin a task, and end it while no file may grow beyond 4 KiB; a line of the input makes room again."""
    with run_attempt(task_id=task_id) as tracker:
        tracker.current = 3
        say("begun")
        sys.stdin.readline()
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, resource.RLIM_INFINITY))
    say("over")
    sys.stdin.readline()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    say("room")
    sys.stdin.readline()


def fork(task_id: str) -> None:
    """Publish progress from this process, then from a forked child, as a prefork pool does."""
    with telltale.track("In the parent") as tracker:
        tracker.current = 1
        time.sleep(0.5)
    time.sleep(1.0)  # a process must not fork while one of its threads uses SQLite
    child = os.fork()
    if child == 0:
        with run_attempt(task_id=task_id) as tracker:
            tracker.current, tracker.total = 1, 2
            sys.stdin.readline()  # until the test has seen the progress
        os._exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def queue_with_key(argument: str) -> None:
    """Queue a task at a given time and print its id. `argument`: `<seconds since 1970>:<key>`."""
    start_at, key = argument.split(":")
    time.sleep(max(0.0, float(start_at) - time.time()))
    print(store.queue(runner="tests", name="tests.keyed", key=key).task.pk)  # noqa: T201


def step_by_step(task_id: str) -> None:
    """Queue, begin and end a task at each line of the input, and say so."""
    store.queue(runner="test", name="work", task_id=UUID(task_id))
    say("queued")
    sys.stdin.readline()
    with run_attempt(task_id=UUID(task_id)) as tracker:
        tracker.current = 3
        say("begun")
        sys.stdin.readline()
        say("ending")
    say("over")
    sys.stdin.readline()


def say(word: str) -> None:
    """Tell the test."""
    print(word, flush=True)  # noqa: T201


if __name__ == "__main__":
    functions = (hold, exit_at_once, fail, raise_error, fill_disk, fork, queue_with_key, step_by_step)
    {function.__name__: function for function in functions}[sys.argv[1]](sys.argv[2])
