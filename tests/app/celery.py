"""The tests' Celery app: `celery -A tests.app.celery worker`. Its Redis is `REDIS_URL`, set by `tests.settings`."""

import os
from pathlib import Path

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

url = os.environ.get("CELERY_BROKER") or os.environ.get("REDIS_URL")
folder = os.environ.get("CELERY_FOLDER")


def folder_options(folder: str) -> dict[str, str]:
    """The options of the filesystem transport."""
    messages, control = Path(folder) / "messages", Path(folder) / "control"
    for path in (messages, control):
        path.mkdir(exist_ok=True)
    return {"data_folder_in": str(messages), "data_folder_out": str(messages), "control_folder": str(control)}


app = Celery("tests", include=["tests.app.celery_tasks"])
app.conf.update(
    broker_url=url,
    result_backend=None,
    broker_connection_retry_on_startup=True,
    task_publish_retry=False,
    worker_hijack_root_logger=False,
    broker_transport_options={"socket_connect_timeout": 2, "max_retries": 1},
)
if folder:
    app.conf.broker_transport_options = folder_options(folder)
elif "CELERY_VISIBLE_S" in os.environ:
    # By default, a message is delivered again after an hour.
    app.conf.broker_transport_options = {
        "visibility_timeout": float(os.environ["CELERY_VISIBLE_S"]),
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
if os.environ.get("CELERY_RESULTS"):
    app.conf.update(result_backend=os.environ["CELERY_RESULTS"], task_track_started=True, result_extended=True)
if "CELERY_REUSES" in os.environ:
    # By default, Celery closes the database connection before and after each task.
    app.conf.CELERY_DB_REUSE_MAX = int(os.environ["CELERY_REUSES"])
if os.environ.get("CELERY_EARLY"):
    app.finalize()  # Some code of a site may read `app.tasks` before the tasks are imported.
