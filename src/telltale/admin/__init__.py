"""The tasks in Django's admin: a live list, the story of each task, and the actions that permissions allow.
`FollowedAdminMixin` makes tasks bulk actions of a site's own lists.

Only `store/` writes tasks: the admin acts as the buttons of a task's page do, by `pages.actions`.
"""

from telltale.admin.followed import FollowedAdminMixin
from telltale.admin.tasks import TaskStateAdmin

__all__ = ["FollowedAdminMixin", "TaskStateAdmin"]
