"""Writes lines, for the tests of followed commands."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

import telltale


class Command(BaseCommand):
    """Writes `--lines` lines and returns their number; then it fails, or goes on until it is cancelled."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--lines", type=int, default=3)
        parser.add_argument("--fail", action="store_true")
        parser.add_argument("--endless", action="store_true")

    def handle(self, *args: Any, **options: Any) -> str:
        for number in telltale.progress(range(1, options["lines"] + 1)):
            self.stdout.write(self.style.SUCCESS(f"Line {number}"))
            if options["verbosity"] > 1:
                self.stderr.write(f"Detail {number}")
        if options["fail"]:
            raise CommandError("Line 4 is missing.")
        while options["endless"]:
            self.stdout.write("Still writing")
            time.sleep(0.02)
        return f"{options['lines']} lines"
