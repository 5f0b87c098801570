"""The example's Celery app and its task."""

import os
import time

from celery import Celery

import telltale

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")

app = Celery("example")
app.config_from_object("django.conf:settings", namespace="CELERY")


@app.task
@telltale.tracked(label="Import contacts")
def import_contacts(rows: int, pause_s: float) -> int:
    """Celery stores the return value; Telltale shows the progress."""
    for _ in telltale.progress(range(rows), message="Importing", unit="rows"):
        time.sleep(pause_s)
    return rows
