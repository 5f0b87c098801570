"""Names the running task in each log record: for log formats, and for collectors of structured logs."""

import logging

from telltale.worker.current import current


class TaskFilter(logging.Filter):
    """Gives each record `task_id`, `task_name` and `task_attempt`; outside a run, they are empty.

    A filter of a handler: `{"filters": {"task": {"()": "telltale.logs.TaskFilter"}}}`. It lets every record pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by the handler, in the thread that logs."""
        run = current().run
        record.task_id, record.task_name, record.task_attempt = ("", "", "") if run is None else run
        return True
