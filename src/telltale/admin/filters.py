"""The filters of the list of tasks. Their words are those of the pages; their values come from the newest tasks."""

from typing import Any, Final

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from telltale import conf, store
from telltale.admin.health import with_health
from telltale.admin.newest import is_search, newest_values
from telltale.core.states import ENDS, Health, State
from telltale.pages.catalogue import message

OFFERED: Final = 20
"""A filter offers the most frequent values, up to this many."""

PERIODS: Final = {
    "hour": (_("In the last hour"), 3_600.0),
    "day": (_("In the last day"), 86_400.0),
    "week": (_("In the last week"), 7 * 86_400.0),
}


def state_text(state: State) -> str:
    """Return the words of a state without its details."""
    return message({State.QUEUED: "waiting", State.RUNNING: "working"}.get(state, state.value))


class StateFilter(admin.SimpleListFilter):
    """Filters by state."""

    title, parameter_name = _("state"), "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the states and their words."""
        return [(state.value, state_text(state)) for state in State]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks in the chosen state. The condition on the end makes them a range of an index."""
        if self.value() not in [*State]:
            return queryset
        state = State(str(self.value()))
        return queryset.filter(state=state.value, ended_at__isnull=state not in ENDS)


class HealthFilter(admin.SimpleListFilter):
    """Filters running tasks by health."""

    title, parameter_name = _("health"), "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the kinds of health and their words."""
        return [(kind.value, message("working" if kind is Health.OK else kind.value)) for kind in Health]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the running tasks with the chosen health."""
        if self.value() not in [*Health]:
            return queryset
        health = Health(str(self.value()))
        return with_health(queryset, health, now=store.now(), limits=conf.settings().limits)


class EndedFilter(admin.SimpleListFilter):
    """Filters by when the task ended."""

    title, parameter_name = _("ended"), "ended"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Return the periods."""
        return [(key, text) for key, (text, _seconds) in PERIODS.items()]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks that ended in the chosen period. The list itself has no others, except for a search."""
        since = chosen_since(request)
        return queryset if since is None or not is_search(request) else queryset.filter(ended_at__gt=since)


def chosen_since(request: HttpRequest) -> float | None:
    """Return when the period begins that the request chooses; None if it chooses none."""
    _text, seconds = PERIODS.get(request.GET.get(str(EndedFilter.parameter_name), ""), ("", None))
    return None if seconds is None else store.now() - seconds


class NewestValues(admin.SimpleListFilter):
    """Filters by a column, with the values among the newest tasks: reading them all would read the whole table."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        """Return the values that occur most often, and the chosen one, in the order of their words."""
        counts = newest_values(request, str(self.parameter_name))
        values = sorted(filter(None, counts), key=lambda value: -counts[value])[:OFFERED]
        chosen = request.GET.get(str(self.parameter_name))
        if chosen and chosen not in {str(value) for value in values}:
            values.append(chosen)
        return sorted(self.words(values).items(), key=lambda item: item[1].casefold())

    def words(self, values: list[Any]) -> dict[Any, str]:
        """Return the text of each value."""
        return {value: str(value) for value in values}

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks with the chosen value."""
        value = self.value()
        if not value:
            return queryset
        # No text has a NUL, and PostgreSQL refuses one.
        return queryset.none() if "\0" in value else queryset.filter(**{str(self.parameter_name): value})


class RunnerFilter(NewestValues):
    """Filters by runner."""

    title, parameter_name = _("runner"), "runner"


class QueueFilter(NewestValues):
    """Filters by the runner's queue."""

    title, parameter_name = _("queue"), "queue"


class LabelFilter(NewestValues):
    """Filters by label."""

    title, parameter_name = _("label"), "label"


class NameFilter(NewestValues):
    """Filters by name."""

    title, parameter_name = _("name"), "name"


class OwnerFilter(NewestValues):
    """Filters by owner. The parameter is the owner's primary key."""

    title, parameter_name = _("owner"), "owner_id"

    def words(self, values: list[Any]) -> dict[Any, str]:
        """Return the names of the users; those that don't exist are left out."""
        keys = [key for value in values if (key := _user_key(value)) is not None]
        return {user.pk: str(user) for user in get_user_model()._default_manager.filter(pk__in=keys)}

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        """Return the tasks of the chosen owner; none if it can't be a user's key."""
        if self.value() is None:
            return queryset
        key = _user_key(self.value())
        if key is None:
            return queryset.none()
        # An expression, so that no index of an owner is used: an owner may have more tasks than the list reads.
        owner = queryset.alias(listed_owner=Coalesce("owner_id", "owner_id"))
        return owner.filter(listed_owner=key)


def _user_key(value: Any) -> Any:
    """Return the value as a key of a user; None if it can't be one. Databases refuse numbers beyond their range."""
    field = get_user_model()._meta.pk
    try:
        key = field.to_python(value)
        field.run_validators(key)
    except ValidationError:
        return None
    return key
