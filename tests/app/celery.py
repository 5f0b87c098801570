"""The tests' Celery app: `celery -A tests.app.celery worker`. Its Redis is `REDIS_URL`, set by `tests.settings`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")

url = os.environ.get("REDIS_URL")

app = Celery("tests", include=["tests.app.celery_tasks"])
app.conf.update(
    broker_url=url,
    result_backend=None,
    broker_connection_retry_on_startup=True,
    task_publish_retry=False,
    worker_hijack_root_logger=False,
    broker_transport_options={"socket_connect_timeout": 2, "max_retries": 1},
)
