"""Health as conditions in SQL, for the list's filter and counts. The rule itself is `core.health.health`.

Tests compare both, on each database.
"""

from typing import Any

from django.db.models import FloatField, Q, QuerySet, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Cast, Coalesce

from telltale.core.health import Limits
from telltale.core.states import Health, State


def stalled(*, now: float, limits: Limits) -> Q:
    """Return the condition of a running task with which contact is lost."""
    instant = now - limits.stalled_s
    return Q(beat_at__lt=instant) | (
        Q(beat_at=None) & (Q(started_at__lt=instant) | Q(started_at=None, created_at__lt=instant))
    )


def with_health(rows: "QuerySet[Any]", health: Health, *, now: float, limits: Limits) -> "QuerySet[Any]":
    """Return the running tasks of `rows` with this health."""
    began = Coalesce("started_at", "created_at")
    rows = rows.filter(ended_at=None, state=State.RUNNING.value)
    rows = rows.alias(
        silent_s=Value(now) - Coalesce("beat_at", began),
        still_s=Value(now) - Coalesce("moved_at", began),
        # A text for PostgreSQL and MariaDB.
        spare_s=Cast(KT("usual_s__1"), FloatField()) - (Value(now) - began),
    )
    is_stalled, is_slow = Q(silent_s__gt=limits.stalled_s), Q(spare_s__lt=0)
    is_well = Q(silent_s__lte=limits.stalled_s) & (Q(spare_s=None) | Q(spare_s__gte=0))
    conditions = {
        Health.STALLED: is_stalled,
        Health.SLOW: Q(silent_s__lte=limits.stalled_s) & is_slow,
        Health.QUIET: is_well & Q(still_s__gt=limits.quiet_s),
        Health.OK: is_well & Q(still_s__lte=limits.quiet_s),
    }
    return rows.filter(conditions[health])
