"""How long runs of a task usually take, so that a bar without a total can say something.

Keeps for some seconds what it read, and what it has yet to write: nothing here is worth a statement a task. Must not
know the task, only its name and the durations. Called by `running` and `closing`.
"""

import logging
import time
from typing import Final

from django.db import DatabaseError

from telltale.core.estimate import Usual
from telltale.models import UsualDuration
from telltale.store.rows import database, in_transaction

logger = logging.getLogger(__name__)

CACHED_S: Final = 10.0
"""How long what is usual is taken for known: it changes slowly."""

LEARN_EVERY_S: Final = 10.0
"""Durations of short runs are written together, this often a task and process."""

_usual: dict[tuple[str, str], tuple[float, tuple[float, float] | None]] = {}
_unlearnt: dict[tuple[str, str], tuple[float, list[float]]] = {}


def usual_s_of(name: str) -> tuple[float, float] | None:
    """As it was at most `CACHED_S` ago."""
    asked_at, usual_s = _usual.get((database(), name), (float("-inf"), None))
    if time.monotonic() - asked_at >= CACHED_S:
        usual_s = _read_usual_s(name)
        _usual[database(), name] = (time.monotonic(), usual_s)
    return usual_s


def _read_usual_s(name: str) -> tuple[float, float] | None:
    durations = UsualDuration.objects.using(database()).filter(pk=name).values_list("durations_s", flat=True).first()
    return Usual.from_list(durations).usual_s if durations else None


def learn(name: str, duration_s: float) -> None:
    """Add a run to what is usual. A run less is no harm, so trouble is passed over.

    Of many short runs of one task, those of `LEARN_EVERY_S` are written together.
    """
    written_at, waiting = _unlearnt.get((database(), name), (float("-inf"), []))
    waiting = [*waiting, duration_s]
    if time.monotonic() - written_at < LEARN_EVERY_S and duration_s < LEARN_EVERY_S:
        _unlearnt[database(), name] = (written_at, waiting)
        return
    _unlearnt[database(), name] = (time.monotonic(), [])
    try:
        with in_transaction():
            known, _made = UsualDuration.objects.using(database()).get_or_create(pk=name)
            usual = Usual.from_list(known.durations_s)
            for one_s in waiting:
                usual = usual.add(one_s)
            known.durations_s = usual.to_list()
            known.save(using=database(), update_fields=["durations_s"])
    except DatabaseError as error:
        logger.info("A run of %s is missing from what is usual: %s", name, error)
