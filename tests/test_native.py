"""One object for each process: a forked child does not use its parent's threads and locks."""

import subprocess
import sys

from telltale.native import PerProcess

FORK = """
import os
from telltale.native import PerProcess

per_process = PerProcess(object)
of_parent = per_process.get()
with per_process._lock:  # as another thread may hold it
    child = os.fork()
    if child == 0:
        of_child = per_process.get()
        os._exit(0 if of_child is not of_parent and of_child is per_process.get() else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "the child has an object of its own"
assert per_process.get() is of_parent, "the parent keeps its object"
"""


def test_a_process_has_one_object() -> None:
    per_process = PerProcess(object)
    assert per_process.get() is per_process.get()


def test_a_forked_child_has_its_own_object_even_if_the_lock_was_held() -> None:
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)
