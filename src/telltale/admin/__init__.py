"""The tasks in Django's admin: a live list, the story of each task, and the actions that permissions allow.

Only `store/` writes tasks: the admin acts as the buttons of a task's page do, by `pages.actions`.
"""

from telltale.admin.tasks import TaskStateAdmin

__all__ = ["TaskStateAdmin"]
