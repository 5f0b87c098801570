"""What the tests of runners see of a task: its row as a reader gets it, and the lines that it left."""

from telltale.testing.runners import fresh, lines, until
from telltale.testing.runners import wait_for_end as ended

__all__ = ["ended", "fresh", "lines", "until"]
