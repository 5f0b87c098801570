"""Ids of a library that are used again: RQ's `job_id=` and `Repeat`, and Celery's `self.replace(…)`.

A row has its runner's id alone. So the row of an earlier run is joined while it is open, and gives up the id when it
has ended.
"""

import logging

from django.db import DatabaseError

from telltale.dispatch.task_header import TaskHeader

logger = logging.getLogger(__name__)


def header_for(runner: str, runner_id: str, header: TaskHeader) -> TaskHeader:
    """The header for a new message of this id: `header`, or that of an earlier row that is open.

    Never raises: without the database, the message is sent all the same.
    """
    from telltale import store

    try:
        with store.time_limit():
            row = store.task_rows().filter(runner=runner, runner_id=runner_id).first()
            if row is not None and row.ended_at is None:
                return TaskHeader(task_id=row.pk, owner=row.belongs_to)
            if row is not None:
                store.set_runner_id(row.pk, f"{runner_id}:{row.pk}")
    except DatabaseError as error:
        logger.warning("It is unknown whether the id %s of %s was used before: %s", runner_id, runner, error)
    return header
