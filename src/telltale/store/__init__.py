"""The only writer of `TaskState`: queue, claim, save, end, expire, read. All races are in this folder.

Each race is decided by one conditional UPDATE whose row count is the verdict; who loses it changes nothing
and publishes nothing. Nothing here publishes: callers hand what is returned to `messages.announce`, after
the write. Instants are seconds since 1970 by the store's clock (`now()`); None for `now` means that clock.

A task's life, in order:

- `queueing`: its row comes into being, or joins the open one of its key; a person asks for it anew
- `waiting`: what its runner says of it until it begins
- `running`: a delivery claims an attempt, or hands it back to be run again
- `saving`: reports of many tasks, their leases, their verdicts
- `ending`: by its worker, by a person, by its lease; `closing`: the one statement behind all of these
- `wholes`: a group of tasks as one bar
- `notices`: what its owner is told, once
- `reading`: what followers see, whatever lapsed ended first
- `by_reader`: what a read writes as a side effect, where that is possible
- `pruning`: what is kept no longer

What these share: `values` (what goes in and comes out), `clock`, `rows` (the way to the tables), `columns` (what an
attempt begins with), `usual` (how long runs take). Imports inside the folder make no circle.

Called by `worker`, `runners`, `web` and `messages`, by the names below alone; knows nothing of any of them.
"""

from telltale.store.clock import now
from telltale.store.ending import end, expire, is_cancel_requested, request_cancel
from telltale.store.groups import member_ids, open_members, queue_group, recount, start_group
from telltale.store.notices import add_notice, take_notice, take_notices
from telltale.store.pruning import PRUNED_AT_ONCE, prune
from telltale.store.queueing import (
    KEY_LENGTH,
    count_before,
    delete_queued,
    queue,
    queue_many,
    requeue,
    reschedule,
    set_queue_status,
    set_runner_id,
)
from telltale.store.reading import NEWEST, end_lapsed, get_task, read_tasks, read_topics
from telltale.store.rows import task_rows, task_rows_of
from telltale.store.running import claim, set_retrying
from telltale.store.saving import SAVED_AT_ONCE, save
from telltale.store.values import Changed, Claim, Member, Pruned, Queued, Refusal, Report, Saved

__all__ = [
    "KEY_LENGTH",
    "NEWEST",
    "PRUNED_AT_ONCE",
    "SAVED_AT_ONCE",
    "Changed",
    "Claim",
    "Member",
    "Pruned",
    "Queued",
    "Refusal",
    "Report",
    "Saved",
    "add_notice",
    "claim",
    "count_before",
    "delete_queued",
    "end",
    "end_lapsed",
    "expire",
    "get_task",
    "is_cancel_requested",
    "member_ids",
    "now",
    "open_members",
    "prune",
    "queue",
    "queue_group",
    "queue_many",
    "read_tasks",
    "read_topics",
    "recount",
    "request_cancel",
    "requeue",
    "reschedule",
    "save",
    "set_queue_status",
    "set_retrying",
    "set_runner_id",
    "start_group",
    "take_notice",
    "take_notices",
    "task_rows",
    "task_rows_of",
]
