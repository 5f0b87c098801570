"""`@task` of Django, or of the backport."""

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

__all__ = ["task"]
