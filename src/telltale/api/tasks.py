"""What every API needs: a task that its user may see."""

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from telltale import store
from telltale.models import TaskState
from telltale.pages.permissions import Action, may_act, may_see


def task_or_404(request: HttpRequest, task_id: UUID | str, *, action: Action | None = None) -> TaskState:
    """Return the task as it is now, if the user of the request may see it, and take `action` ("cancel" or "retry").

    `request`: Django's, or a wrapper around it. The rules are those of Telltale's own views: the task's owner, visitors
    who joined a shared task, staff with the permission, and whom `CAN_FOLLOW` and `CAN_ACT` allow. Raises
    `PermissionDenied`, and `Http404`: the same for a task that does not exist and for one that the user may not see.
    """
    task = store.get_task(task_id)
    if task is None or not may_see(request, task):
        raise Http404("This task doesn't exist, or it isn't yours.")
    if action is not None and not may_act(request, task, action):
        raise PermissionDenied(f"You may see this task, but not {action} it.")
    return task
