"""`prepare`: what the demo needs before it opens: tables, two people, and some experience."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

import telltale
from demo import people
from demo.airports import tasks
from telltale.models import TaskState

LESSONS = 6
"""Runs from which the worker learns what is usual: one more than are needed."""


class Command(BaseCommand):
    """Harmless when repeated."""

    help = "Creates tables and people, and at first queues a few short runs, to learn how long they usually take."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        people.make()
        if TaskState.objects.exists():
            return
        for _ in range(LESSONS):
            telltale.enqueue(tasks.measure, tasks.TAUGHT_COUNT, owner=None, label="Learn how long measuring takes")
