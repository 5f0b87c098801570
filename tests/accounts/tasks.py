"""A task that runs until the site is told to let it end, or until it is asked to stop."""

import threading
import time

import telltale

released = threading.Event()


@telltale.tracked(label="Import airports", runner="thread")
def import_airports() -> None:
    """Report one airport, then wait for the release."""
    until = time.monotonic() + 60
    for number in telltale.progress(range(2)):
        while number and time.monotonic() < until and not released.wait(0.02):
            telltale.check_cancelled()
