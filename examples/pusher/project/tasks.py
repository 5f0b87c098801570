"""The background task. It runs in `manage.py db_worker`, which has no request."""

import time

from django.conf import settings

from project.push import push

if settings.HAS_TASKS:
    from django.tasks import task
else:
    from django_tasks import task

PAGES = 40
PAUSE_S = 0.1
"""How long one page of the report takes."""


@task()
def build_report(user_id: int) -> None:
    """Build a report, and tell its user now and then, and at the end."""
    for done in range(1, PAGES + 1):
        time.sleep(PAUSE_S)
        if done % 10 == 0 and done < PAGES:
            push(user_id, "report.status", text=f"{done} of {PAGES} pages")
    push(user_id, "report.done", text="Your report is ready.")
