"""The tables. Only `store/` writes `TaskState`; other code reads it."""

import json
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from telltale.core.labels import shown_label
from telltale.core.push import MAX_ENDPOINT
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import ENDS, State
from telltale.core.topics import MAX_LENGTH, task_topic
from telltale.core.wire import LEVELS, Notice
from telltale.owners import Owner


class TaskState(models.Model):
    """One run of background work: the authoritative state, from which snapshots are made.

    Instants are floats: seconds since 1970 by the store's clock. They are compared and sent in snapshots as they are,
    and the database never needs them as dates.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    runner = models.CharField(max_length=64)
    runner_id = models.CharField(_("runner's id"), max_length=255, null=True, blank=True)  # noqa: DJ001 (unique, and null until known)
    queue = models.CharField(max_length=255, blank=True, default="")
    """The runner's queue, if it has queues and the one was known when the task was queued. Private."""
    name = models.CharField(max_length=255)
    label = models.CharField(max_length=255)
    key = models.CharField(max_length=255, null=True, blank=True)  # noqa: DJ001 (null: no key)
    open_key = models.CharField(_("open key"), max_length=64, null=True, blank=True, unique=True, editable=False)
    """A digest of name, key and owner while the task is open. A plain unique column works in every database."""
    is_shared = models.BooleanField(_("shared"), default=False, editable=False)
    """Whether calls of other owners join it by its key. Then its open key is without the owner."""
    call = models.JSONField(default=dict)
    """How to run it again: {"args": […], "kwargs": {…}}; for groups "steps", the number of members of each. Private."""
    trace = models.JSONField(null=True, blank=True, editable=False)
    """The trace of the request that queued it, as `tracing.carrier` returns it; null without OpenTelemetry. Private."""
    group_id = models.UUIDField(null=True, blank=True, editable=False)
    """The id of the group of which the task is a member."""
    step = models.PositiveIntegerField(null=True, blank=True, editable=False)
    """The number of the group's step, from 0, to which the member belongs."""

    # No index of its own: the indexes that begin with the owner serve as well.
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    session = models.CharField(max_length=64, blank=True, default="")
    """The name of the owner's session (`owners.session_names`), if the owner was not signed in when it was queued."""

    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in State], default=State.QUEUED.value)
    attempt = models.PositiveIntegerField(default=1)
    seq = models.PositiveIntegerField(default=0)
    past_attempts = models.JSONField(_("past attempts"), null=True, blank=True, editable=False)
    """The newest attempts before this one, for the timeline: `core.past_attempts`. Null until there is one. Private."""
    progress = models.JSONField(default=dict)
    stage_times = models.JSONField(_("stage times"), null=True, blank=True, editable=False)
    """How long the outermost stages have taken: `core.stage_times`. Null until there is one. Private."""
    remaining_s = models.FloatField(_("time left (s)"), null=True, blank=True)
    remaining_spread = models.FloatField(_("spread of the time left"), null=True, blank=True)
    usual_s = models.JSONField(_("usual duration (s)"), null=True, blank=True)

    result = models.CharField(max_length=2048, null=True, blank=True)  # noqa: DJ001 (as in the snapshot)
    return_json = models.TextField(_("return value"), null=True, blank=True)  # noqa: DJ001 (null: none was kept)
    """What the task returned, if it keeps that (`tracked(result=…)`). Text: PostgreSQL's JSON has no NUL. Private."""
    error = models.TextField(null=True, blank=True)  # noqa: DJ001 (as in the snapshot)
    detail = models.TextField(blank=True, default="")
    """The error for staff: the exception and its traceback. Private."""
    reference = models.CharField(max_length=16, null=True, blank=True)  # noqa: DJ001 (as in the snapshot)

    worker = models.CharField(max_length=128, blank=True, default="")
    """The process that holds the lease, as "host:process id". Private."""
    lease_until = models.FloatField(_("lease until"), null=True, blank=True)
    """While it runs: when it is lost unless its worker renews the lease. While it waits: when a worker must have begun
    it; null for no limit."""
    cancel_requested = models.BooleanField(_("cancellation requested"), default=False)
    no_cancel = models.TextField(_("why it can't be cancelled"), null=True, blank=True)  # noqa: DJ001 (as in the snapshot)
    due_at = models.FloatField(_("due"), null=True, blank=True)
    ahead = models.PositiveIntegerField(_("tasks ahead"), null=True, blank=True)
    is_listening = models.BooleanField(_("worker listening"), null=True, blank=True)
    missing_since = models.FloatField(_("missing since"), null=True, blank=True)

    created_at = models.FloatField(_("queued"))
    started_at = models.FloatField(_("started"), null=True, blank=True)
    moved_at = models.FloatField(_("last progress"), null=True, blank=True)
    beat_at = models.FloatField(_("last beat"), null=True, blank=True)
    ended_at = models.FloatField(_("ended"), null=True, blank=True)

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        # For staff, in the admin and on a task's page; owners need none.
        permissions = [
            ("cancel_taskstate", _("Can cancel task")),
            ("terminate_taskstate", _("Can force task to stop")),
            ("retry_taskstate", _("Can run task again")),
        ]
        indexes = [
            # Without conditions: MariaDB creates no conditional index, and SQLite uses one only for a literal value.
            models.Index(fields=["owner", "-created_at"], name="telltale_task_owner"),
            models.Index(fields=["owner", "ended_at", "created_at"], name="telltale_task_owner_ended"),
            models.Index(fields=["session", "-created_at"], name="telltale_task_session"),
            models.Index(fields=["session", "ended_at", "created_at"], name="telltale_task_session_ended"),
            models.Index(fields=["group_id", "step", "ended_at", "state"], name="telltale_task_group"),
            models.Index(fields=["lease_until"], name="telltale_task_lease"),
            models.Index(fields=["ended_at", "state", "created_at"], name="telltale_task_ended"),
        ]
        constraints = [
            # No condition is needed, because nulls are never equal. MySQL would ignore a condition. The runner's id
            # comes first, because a result is also looked up without its runner.
            models.UniqueConstraint(fields=["runner_id", "runner"], name="telltale_task_runner_id"),
            models.CheckConstraint(
                name="telltale_task_ended_says_when",
                condition=Q(state__in=sorted(s.value for s in ENDS), ended_at__isnull=False)
                | (~Q(state__in=sorted(s.value for s in ENDS)) & Q(ended_at=None)),
            ),
            models.CheckConstraint(
                name="telltale_task_running_holds_a_lease",
                condition=~Q(state=State.RUNNING.value) | Q(lease_until__isnull=False),
            ),
            models.CheckConstraint(
                name="telltale_task_known_state", condition=Q(state__in=sorted(s.value for s in State))
            ),
            models.CheckConstraint(name="telltale_task_first_attempt_is_1", condition=Q(attempt__gte=1)),
        ]

    def __str__(self) -> str:
        return f"{shown_label(self.label, self.name)} ({self.state})"

    @property
    def belongs_to(self) -> Owner:
        """The task's owner as a value: a user, an anonymous session, neither, or both after a sign-in."""
        return Owner(user_id=self.owner_id, session=self.session)

    @property
    def owner_topic(self) -> str | None:
        """The topic of the task's owner; None if it has none."""
        return self.belongs_to.topic

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics to which its snapshots are published."""
        return (task_topic(self.pk), *self.belongs_to.topics)

    @property
    def has_return_value(self) -> bool:
        """Whether the task's return value was kept."""
        return self.return_json is not None

    @property
    def return_value(self) -> Any:
        """What the task returned, if it was kept; None otherwise. For its owner."""
        return None if self.return_json is None else json.loads(self.return_json)

    @property
    def snapshot(self) -> Snapshot:
        """The task's public state."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in _SAME_NAMES}
        return Snapshot(
            id=str(self.pk),
            state=State(self.state),
            progress=Progress.from_json(self.progress),
            usual_s=(self.usual_s[0], self.usual_s[1]) if self.usual_s else None,
            **columns,
        )


_SAME_NAMES = tuple(name for name in Snapshot.__slots__ if name not in {"id", "state", "progress", "usual_s"})


class TaskFollower(models.Model):
    """A visitor who joined another visitor's shared task, and may follow it."""

    # No constraint in the database: MariaDB would lock the task's row until the transaction that joined it ends, and
    # its worker could save nothing. The index for the task is that of the unique constraint.
    task = models.ForeignKey(
        TaskState, on_delete=models.CASCADE, related_name="followers", db_index=False, db_constraint=False
    )
    topic = models.CharField(max_length=MAX_LENGTH)
    """The topic of the user or the session, as in a notice."""

    class Meta:
        verbose_name = _("follower")
        verbose_name_plural = _("followers")
        indexes = [models.Index(fields=["topic"], name="telltale_follower_topic")]
        constraints = [models.UniqueConstraint(fields=["task", "topic"], name="telltale_follower_once")]

    def __str__(self) -> str:
        return self.topic


class UsualDuration(models.Model):
    """How long the newest runs of one task took; see `core.estimate.DurationHistory`."""

    name = models.CharField(max_length=255, primary_key=True)
    durations_s = models.JSONField(default=list)
    """The newest durations of succeeded runs, in seconds, oldest first."""

    class Meta:
        verbose_name = _("usual duration")
        verbose_name_plural = _("usual durations")

    def __str__(self) -> str:
        return self.name


class StoredNotice(models.Model):
    """A message for a person, kept until one of their pages has shown it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    topic = models.CharField(max_length=MAX_LENGTH)
    level = models.CharField(max_length=16, choices=[(level, level) for level in LEVELS])
    text = models.TextField()
    url = models.CharField(max_length=2048, null=True, blank=True)  # noqa: DJ001 (as on the wire)
    # No index of its own: another begins with the task.
    task = models.ForeignKey(
        TaskState, null=True, blank=True, on_delete=models.SET_NULL, related_name="notices", db_index=False
    )
    attempt = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.FloatField()
    holder = models.CharField(max_length=64, blank=True, default="", editable=False)
    """The page that has taken it and may show it; the page chose this name. Empty if none did."""
    held_until = models.FloatField(null=True, blank=True, editable=False)
    shown_at = models.FloatField(null=True, blank=True)

    class Meta:
        verbose_name = _("notice")
        verbose_name_plural = _("notices")
        indexes = [
            models.Index(fields=["topic", "shown_at", "created_at"], name="telltale_notice_waiting"),
            # For the list of a person's messages, in pages.
            models.Index(fields=["topic", "created_at", "id"], name="telltale_notice_list"),
            models.Index(fields=["task", "shown_at", "created_at"], name="telltale_notice_task"),
            # The other way round, so that PostgreSQL does not prefer it for the newest notices of a topic.
            models.Index(fields=["shown_at", "-created_at"], name="telltale_notice_shown"),
        ]
        constraints = [models.UniqueConstraint(fields=["task", "attempt"], name="telltale_notice_one_per_end")]

    def __str__(self) -> str:
        return self.text

    @property
    def notice(self) -> Notice:
        """The notice as it is sent to pages."""
        return Notice(
            id=str(self.pk),
            topic=self.topic,
            level=self.level,
            text=self.text,
            url=self.url,
            task=str(self.task_id) if self.task_id else None,
            created_at=self.created_at,
        )


class PushSubscription(models.Model):
    """A browser to which a person's notices are sent by web push; see `core.push.Subscription`. Private."""

    topic = models.CharField(max_length=MAX_LENGTH)
    """The topic of the user or the session, as in a notice."""
    digest = models.CharField(max_length=64, unique=True, editable=False)
    """A digest of the endpoint, which is too long for an index of every database."""
    endpoint = models.CharField(max_length=MAX_ENDPOINT)
    key = models.CharField(max_length=128, editable=False)
    secret = models.CharField(max_length=64, editable=False)
    auth = models.CharField(max_length=64, blank=True, default="", editable=False)
    """A digest of the user's session auth hash when the browser was added or renewed, which changes with the password;
    empty for an anonymous session."""
    session = models.CharField(max_length=64, blank=True, default="", editable=False)
    """A digest of the key of the session that added or renewed the browser; empty if sessions are kept in cookies."""
    created_at = models.FloatField()
    used_at = models.FloatField()
    """When the browser was added or renewed."""
    until = models.FloatField()
    """When the session ends that added it."""
    sent_at = models.FloatField(null=True, blank=True)
    """When the push service last accepted a message."""
    failures = models.PositiveIntegerField(default=0)
    """How often in a row the push service has failed since."""
    retry_at = models.FloatField(null=True, blank=True)
    """After a failure: when the push service may be used again."""

    class Meta:
        verbose_name = _("push subscription")
        verbose_name_plural = _("push subscriptions")
        indexes = [
            models.Index(fields=["topic", "-used_at"], name="telltale_push_topic"),
            models.Index(fields=["session"], name="telltale_push_session"),
            models.Index(fields=["until"], name="telltale_push_until"),
        ]

    def __str__(self) -> str:
        return self.topic
