"""`prepare`: creates what the demo needs: tables, two users, and runs from which the usual duration is learned."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

import telltale
from demo import people
from demo.airports import tasks
from telltale.models import TaskState

RUNS = 6
"""Runs from which the usual duration is learned: one more than necessary."""


class Command(BaseCommand):
    """May be repeated without harm."""

    help = "Create tables and users. The first time, also queue short runs from which the usual duration is learned."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        people.create_users()
        if TaskState.objects.exists():
            return
        for _ in range(RUNS):
            telltale.enqueue(tasks.measure, tasks.USUAL_COUNT, owner=None, label="Learn the usual duration")
