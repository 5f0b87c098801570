"""The visitors who joined a shared task, and so may follow it. The task's owner needs no row here.

Each visitor has one row for each task. Their number has a limit for each task, and they are deleted with it.
"""

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

from telltale.core.topics import session_topic, user_topic
from telltale.models import TaskFollower, TaskState
from telltale.owners import Owner
from telltale.store.rows import follower_rows

FOLLOWERS_KEPT: Final = 1_000
"""How many visitors who joined a task are kept: the newest. To let more people follow a task, a site has `CAN_FOLLOW`.
"""


def add_follower(task: TaskState, owner: Owner) -> None:
    """Let this user or session follow the task. Harmless when repeated, and for the task's own owner."""
    if owner.topic is None or owner.owns(task) or followed_ids(owner, [task.pk]):
        return
    rows = follower_rows()
    # Another request of this visitor may add the row at the same time.
    rows.bulk_create([TaskFollower(task_id=task.pk, topic=owner.topic)], ignore_conflicts=True)
    of_task = rows.filter(task_id=task.pk)
    surplus = of_task.order_by("-pk").values_list("pk", flat=True)[FOLLOWERS_KEPT : FOLLOWERS_KEPT + 1]
    if oldest := list(surplus):
        of_task.filter(pk__lte=oldest[0]).delete()


def followed_ids(owner: Owner, task_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the tasks that this user or session has joined; no query without tasks."""
    if not task_ids or owner.topic is None:
        return set()
    joined = follower_rows().filter(task_id__in=task_ids, topic__in=owner.topics)
    return set(joined.values_list("task_id", flat=True))


def hand_over_followed(sessions: Collection[str], user_id: Any, *, most: int) -> int:
    """Let the user follow what the sessions of these names joined, the newest `most`; return how many those are."""
    of_sessions = follower_rows().filter(topic__in=[session_topic(name) for name in sessions])
    newest = dict(of_sessions.order_by("-pk").values_list("pk", "task_id")[:most])
    if newest:
        topic = user_topic(user_id)
        rows = [TaskFollower(task_id=task_id, topic=topic) for task_id in newest.values()]
        # The user may have joined some of them before.
        follower_rows().bulk_create(rows, ignore_conflicts=True)
        of_sessions.filter(pk__in=newest).delete()
    return len(newest)
