"""A task that runs until the site is told to let it end."""

import threading

import telltale

released = threading.Event()


@telltale.tracked(label="Import airports", runner="thread")
def import_airports() -> None:
    """Report one airport, then wait for the release."""
    for number in telltale.progress(range(2)):
        if number:
            released.wait(60)
