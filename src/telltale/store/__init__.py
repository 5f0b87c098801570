"""The only code that writes `TaskState`: it queues, claims, saves, ends, expires and reads tasks.

Each race is decided by one conditional UPDATE, and its row count is the verdict: the loser changes nothing and
publishes nothing. The store itself publishes nothing. Callers pass the changes it returns to `messages.announce`, after
the write. Instants are seconds since 1970 by the store's clock (`now()`); `now=None` means the current time by that
clock.

In the order of a task's life:

- `calls`: a task's arguments
- `queueing`: creates a task's row, joins the open task with the same key, queues another attempt
- `followers`: who joined a shared task, and so may follow it
- `running`: a delivery claims an attempt, or gives it back to be retried; a worker takes back an attempt presumed lost
- `saving`: saves reports and renews leases, many tasks at a time
- `ending`: ends tasks, by their worker, by a person, by an expired lease; `write_end` is the statement for all of these
- `groups`: many tasks under one bar; `group_reopening`: a lost member comes back
- `notices`: messages for owners, each shown once; `message_list`: the list of them, to be read again;
  `unseen`: those that are handed over to mail or a hook; `push`: the browsers to which they are sent
- `sign_in`: what an anonymous session owned becomes the user's
- `reading`: what pages and followers see; `write_on_read`: what a read changes; `unsaved`: what is not saved yet
- `listing`: the whole list of an owner's tasks, one page at a time
- `pruning`: deletes what is no longer kept

Shared: `values` (arguments and results), `clock`, `rows` (access to the tables), `columns` (values that several modules
write), `past_attempts` (those that newer ones superseded), `durations` (how long runs usually take), `time_limit`
(for the calls of workers and live servers). Other packages use only the names below.
"""

from telltale.store.calls import call_arguments
from telltale.store.clock import now
from telltale.store.ending import end, end_missing, expire, is_cancel_requested, request_cancel
from telltale.store.followers import FOLLOWERS_KEPT, followed_ids
from telltale.store.groups import member_ids, open_members, queue_group, recount, start_group
from telltale.store.listing import TaskPage, TaskPlace, list_tasks
from telltale.store.lock_waits import RowLocked, limited_lock_waits
from telltale.store.message_list import MESSAGES_LISTED, MessageList, MessagePlace, list_messages, mark_listed
from telltale.store.notices import (
    HELD_S,
    add_notice,
    confirm_notice,
    hold_notice,
    read_waiting,
    take_notice,
    take_notices,
    take_waiting,
)
from telltale.store.pruning import PRUNED_AT_ONCE, prune
from telltale.store.push import (
    PushTarget,
    TooManyBrowsers,
    add_push,
    delete_push,
    delete_push_of,
    delete_targets,
    hold_for_push,
    push_accepted,
    push_again_in,
    push_failed,
    push_targets,
    push_topics,
)
from telltale.store.queueing import (
    KEY_LENGTH,
    count_before,
    delete_queued,
    postpone_start_by,
    queue,
    queue_many,
    requeue,
    reschedule,
    set_queue_status,
    set_runner_id,
)
from telltale.store.reading import NEWEST, end_expired, get_task, get_tasks, read_tasks, read_topics
from telltale.store.rows import task_rows, task_rows_of
from telltale.store.running import claim, set_retrying, take_back
from telltale.store.saving import SAVED_AT_ONCE, save
from telltale.store.sign_in import hand_over, owner_now, owns_tasks
from telltale.store.time_limit import CALL_S, time_limit
from telltale.store.unsaved import SavedRun, add_source, add_unsaved
from telltale.store.unseen import confirm_handed_over, due_topics, give_back, hold_due
from telltale.store.values import Changed, Claim, Member, NoticeHold, Pruned, Queued, Refusal, Report, Saved

__all__ = [
    "CALL_S",
    "FOLLOWERS_KEPT",
    "HELD_S",
    "KEY_LENGTH",
    "MESSAGES_LISTED",
    "NEWEST",
    "PRUNED_AT_ONCE",
    "SAVED_AT_ONCE",
    "Changed",
    "Claim",
    "Member",
    "MessageList",
    "MessagePlace",
    "NoticeHold",
    "Pruned",
    "PushTarget",
    "Queued",
    "Refusal",
    "Report",
    "RowLocked",
    "Saved",
    "SavedRun",
    "TaskPage",
    "TaskPlace",
    "TooManyBrowsers",
    "add_notice",
    "add_push",
    "add_source",
    "add_unsaved",
    "call_arguments",
    "claim",
    "confirm_handed_over",
    "confirm_notice",
    "count_before",
    "delete_push",
    "delete_push_of",
    "delete_queued",
    "delete_targets",
    "due_topics",
    "end",
    "end_expired",
    "end_missing",
    "expire",
    "followed_ids",
    "get_task",
    "get_tasks",
    "give_back",
    "hand_over",
    "hold_due",
    "hold_for_push",
    "hold_notice",
    "is_cancel_requested",
    "limited_lock_waits",
    "list_messages",
    "list_tasks",
    "mark_listed",
    "member_ids",
    "now",
    "open_members",
    "owner_now",
    "owns_tasks",
    "postpone_start_by",
    "prune",
    "push_accepted",
    "push_again_in",
    "push_failed",
    "push_targets",
    "push_topics",
    "queue",
    "queue_group",
    "queue_many",
    "read_tasks",
    "read_topics",
    "read_waiting",
    "recount",
    "request_cancel",
    "requeue",
    "reschedule",
    "save",
    "set_queue_status",
    "set_retrying",
    "set_runner_id",
    "start_group",
    "take_back",
    "take_notice",
    "take_notices",
    "take_waiting",
    "task_rows",
    "task_rows_of",
    "time_limit",
]
