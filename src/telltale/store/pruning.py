"""What is kept no longer: ended tasks and shown notices are deleted, what nobody began is given up.

Knows how long the settings keep things; nothing goes that somebody has yet to be told of. Must not know how often
it is called: now and then by `worker`, and by `manage.py telltale prune`.
"""

from typing import Final

from django.db.models import Q
from django.utils.translation import gettext as _

from telltale import conf
from telltale.core.states import State, sources
from telltale.store.clock import instant
from telltale.store.ending import end_if
from telltale.store.rows import in_transaction, notice_rows, task_rows
from telltale.store.values import Changed, Pruned

PRUNED_AT_ONCE: Final = 1_000
"""How many of each kind one pruning deletes: a large deletion would keep others waiting."""


def prune(*, now: float | None = None, most: int = PRUNED_AT_ONCE) -> Pruned:
    """Give up what nobody has begun, and delete what the settings keep no longer; at most `most` of each kind.

    Nothing goes of which somebody has yet to be told, until `keep_untold_s` is over.
    """
    at, s = instant(now), conf.settings()
    shown = Q(shown_at__lt=at - s.keep_ended_s) | Q(shown_at=None, created_at__lt=at - s.keep_untold_s)
    notices = list(notice_rows().filter(shown).values_list("pk", flat=True)[:most])
    untold = notice_rows().filter(shown_at=None).exclude(pk__in=notices).values("task_id").exclude(task_id=None)
    kept_no_longer = task_rows().filter(ended_at__lt=at - s.keep_ended_s).exclude(pk__in=untold)
    tasks = list(kept_no_longer.values_list("pk", flat=True)[:most])
    with in_transaction():
        notice_rows().filter(pk__in=notices).delete()
        # A person may have run it again this moment.
        task_rows().filter(pk__in=tasks, ended_at__lt=at - s.keep_ended_s).delete()
    return Pruned(tasks=len(tasks), notices=len(notices), given_up=_give_up(at, most))


def _give_up(at: float, most: int) -> list[Changed]:
    since = at - conf.settings().keep_queued_s
    queued, retrying = Q(state=State.QUEUED.value), Q(state=State.RETRYING.value)
    asked_for = (queued & Q(created_at__lt=since)) | (retrying & Q(beat_at__lt=since))
    waiting = task_rows().filter((queued | retrying) & Q(due_at__lt=since) | asked_for & Q(due_at=None))
    words = {"error": _("Nobody began it.")}
    ended = [
        end_if(pk, Q(attempt=attempt), State.FAILED, sources(State.FAILED) - {State.RUNNING}, words, at)
        for pk, attempt in waiting.values_list("pk", "attempt")[:most]
    ]
    return [changed for changed in ended if changed is not None]
