"""Log records name the running task."""

import logging
import subprocess
import sys

import pytest

import telltale
from telltale.logs import TaskFilter
from telltale.models import TaskState

FORMAT = "%(task_id)s %(task_name)s %(task_attempt)s: %(message)s"


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def logger(lines: list[str]) -> logging.Logger:
    class ToList(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = ToList()
    handler.addFilter(TaskFilter())
    handler.setFormatter(logging.Formatter(FORMAT))
    logger = logging.Logger("shop")
    logger.addHandler(handler)
    return logger


@pytest.mark.django_db
def test_a_record_in_a_run_names_the_task(logger: logging.Logger, lines: list[str]) -> None:
    with telltale.track("Rebuild index"), telltale.stage("Reading"):
        logger.warning("A row has no name.")
    task = TaskState.objects.get()
    assert lines == [f"{task.pk} Rebuild index 1: A row has no name."]


def test_outside_a_run_the_fields_are_empty(logger: logging.Logger, lines: list[str]) -> None:
    logger.warning("Here.")
    assert lines == ["  : Here."]


def test_the_filter_is_loaded_before_the_apps_are_ready() -> None:
    code = """
import logging.config
logging.config.dictConfig({
    "version": 1,
    "filters": {"task": {"()": "telltale.logs.TaskFilter"}},
    "formatters": {"plain": {"format": "[%(task_id)s] %(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "filters": ["task"],
                         "formatter": "plain"}},
    "root": {"handlers": ["out"]},
})
logging.getLogger("shop").warning("Here.")
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout == "[] Here.\n"
