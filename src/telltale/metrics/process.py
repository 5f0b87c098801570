"""The metrics of one worker process, read from memory."""

from collections.abc import Callable
from functools import partial
from typing import Final

from telltale.brokers.counts import counts as broker_counts
from telltale.core.states import State
from telltale.metrics.metric import Kind, Metric
from telltale.worker.counts import counts
from telltale.worker.reporter import reporter

BROKER: Final = tuple(
    Metric(
        name=f"telltale_broker_{name}",
        meaning=meaning,
        kind=Kind.COUNTER,
        read=partial(broker_counts.__getitem__, name),
    )
    for name, meaning in {
        "published": "Messages given to the broker by this process.",
        "failed": "Calls that failed to publish.",
        "received": "Messages received from the broker.",
        "gaps": "How often the broker reported that messages may be lost, and the database was read.",
        "outages": "How often the broker's messages stopped arriving.",
    }.items()
)

_ENDS: Final = (*(state for state in State if state.ended), State.RETRYING)


def _counter(name: str, key: str, meaning: str) -> Metric:
    return Metric(name=f"telltale_{name}", meaning=meaning, kind=Kind.COUNTER, read=lambda: counts()[key])


def _gauge(name: str, read: Callable[[], float], meaning: str) -> Metric:
    return Metric(name=f"telltale_{name}", meaning=meaning, kind=Kind.GAUGE, read=read)


WORKER: Final = (
    _gauge("running", lambda: reporter().running_count, "Attempts that run in this process."),
    _counter("begun", "begun", "Attempts that this process began."),
    Metric(
        name="telltale_ended",
        meaning="Attempts that this process ended, by state.",
        kind=Kind.COUNTER,
        label="state",
        read=lambda: {state.value: counts()[f"ended {state.value}"] for state in _ENDS},
    ),
    _counter("saved", "saved", "Reports of progress that were saved, which also renews leases."),
    _counter("taken_back", "taken back", "Attempts that were presumed lost by mistake, and went on."),
    _counter("superseded", "superseded", "Attempts that a newer attempt superseded while they ran."),
    _gauge("ends_waiting", lambda: reporter().saver.waiting_ends, "Ends that the database has not accepted yet."),
    _counter("ends_spooled", "spooled", "Ends that were left in a file for the next process, because this one exits."),
    _gauge("saving_works", lambda: not reporter().saver.outage.is_ongoing, "0 while progress can't be saved."),
)
