"""Django REST framework: a task as a serializer, and a permission for views of tasks."""

from typing import Any

from django.http import Http404
from rest_framework import permissions, serializers

from telltale import store
from telltale.core.states import State
from telltale.models import TaskState
from telltale.pages.permissions import may_act, may_see
from telltale.pages.responses import answer_json


class ProgressSerializer(serializers.Serializer):  # type: ignore[misc] # the framework has no types
    """How far a task is: docs/protocol.md has the keys."""

    fraction = serializers.FloatField(allow_null=True, read_only=True, help_text="Of the whole task, 0 to 1.")
    current = serializers.FloatField(allow_null=True, read_only=True)
    total = serializers.FloatField(allow_null=True, read_only=True)
    unit = serializers.CharField(read_only=True)
    message = serializers.CharField(read_only=True)
    stage = serializers.CharField(read_only=True)
    step = serializers.IntegerField(read_only=True)
    steps = serializers.IntegerField(allow_null=True, read_only=True)
    borders = serializers.ListField(child=serializers.FloatField(), required=False, read_only=True)


class TaskSerializer(serializers.Serializer):  # type: ignore[misc]
    """A `TaskState` as `telltale.accepted` answers with it. Read-only.

    It needs the request in its context; generic views put it there. The fields are for the schema of the API.
    Each task is read again, so it is shown as it is now: a list takes at least one query for each, so give it pages.
    """

    id = serializers.UUIDField(read_only=True)
    attempt = serializers.IntegerField(read_only=True)
    seq = serializers.IntegerField(read_only=True)
    state = serializers.ChoiceField(choices=[state.value for state in State], read_only=True)
    ended = serializers.BooleanField(read_only=True)
    name = serializers.CharField(read_only=True)
    label = serializers.CharField(read_only=True)
    progress = ProgressSerializer(read_only=True)
    error = serializers.CharField(allow_null=True, read_only=True)
    reference = serializers.CharField(allow_null=True, read_only=True)
    result = serializers.CharField(allow_null=True, read_only=True, help_text="A link to the result.")
    has_return_value = serializers.BooleanField(read_only=True)
    return_value = serializers.JSONField(required=False, read_only=True, help_text="For the task's owner only.")
    created_at = serializers.FloatField(read_only=True, help_text="Like all instants, in seconds since 1970.")
    started_at = serializers.FloatField(allow_null=True, read_only=True)
    moved_at = serializers.FloatField(allow_null=True, read_only=True)
    beat_at = serializers.FloatField(allow_null=True, read_only=True)
    ended_at = serializers.FloatField(allow_null=True, read_only=True)
    due_at = serializers.FloatField(allow_null=True, read_only=True)
    ahead = serializers.IntegerField(allow_null=True, read_only=True)
    is_listening = serializers.BooleanField(allow_null=True, read_only=True)
    missing_since = serializers.FloatField(allow_null=True, read_only=True)
    remaining_s = serializers.FloatField(allow_null=True, read_only=True)
    remaining_spread = serializers.FloatField(allow_null=True, read_only=True)
    usual_s = serializers.ListField(child=serializers.FloatField(), allow_null=True, read_only=True)
    cancel_requested = serializers.BooleanField(read_only=True)
    no_cancel = serializers.CharField(allow_null=True, read_only=True)
    health = serializers.CharField(allow_null=True, read_only=True)
    now = serializers.FloatField(read_only=True)
    url = serializers.CharField(read_only=True, help_text="The task's own page.")
    can_cancel = serializers.BooleanField(read_only=True)
    can_retry = serializers.BooleanField(read_only=True)
    actions = serializers.ListField(child=serializers.CharField(), read_only=True)

    def to_representation(self, task: TaskState) -> dict[str, Any]:
        """Return the JSON of the task for the user of the request."""
        row = store.get_task(task.pk) or task
        return answer_json(self.context["request"], row, now=store.now())


class TaskPermission(permissions.BasePermission):  # type: ignore[misc]
    """Lets users see the tasks that they may follow, and `cancel` and `retry` those on which they may act.

    These are the names of the view set's actions. Other methods than GET, HEAD and OPTIONS are refused. A task that the
    user may not see is answered with 404, as one that does not exist.
    """

    def has_object_permission(self, request: Any, view: Any, obj: TaskState) -> bool:
        """Whether the user may do this with the task."""
        if not may_see(request, obj):
            raise Http404
        action = getattr(view, "action", None)
        if action == "cancel" or action == "retry":
            return may_act(request, obj, action)
        return request.method in permissions.SAFE_METHODS
