"""`@task` from where this Django has it."""

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

__all__ = ["task"]
