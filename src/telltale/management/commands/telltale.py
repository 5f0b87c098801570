"""`manage.py telltale prune` and `manage.py telltale serve`. Each subcommand is a method."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from telltale import conf, store
from telltale.messages import announce
from telltale.server.options import CannotServe, Options


class Command(BaseCommand):
    """One command with subcommands, so that a site's list of commands stays short."""

    help = "Delete old tasks and notices, or run the live server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a parser for each subcommand."""
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        subcommands.add_parser(
            "prune", help="Delete old tasks and notices, and end tasks that no worker started, as the settings say."
        )
        Options.add_to(subcommands.add_parser("serve", help="Run the live server, for very many live connections."))

    def handle(self, *, subcommand: str, **options: Any) -> None:
        """Call the method of the subcommand."""
        getattr(self, f"_{subcommand}")(**options)

    def _serve(self, **options: Any) -> None:
        try:
            from telltale.server.processes import serve
        except ImportError as error:
            raise CommandError(
                f"The live server can't be imported ({error}): pip install django-telltale[server]."
            ) from error
        try:
            serve(Options.of(options))
        except CannotServe as error:
            raise CommandError(str(error)) from error

    def _prune(self, **_options: Any) -> None:
        tasks = notices = given_up = 0
        while True:
            pruned = store.prune()
            for change in pruned.given_up:
                announce(change.envelopes)
            tasks, notices, given_up = tasks + pruned.tasks, notices + pruned.notices, given_up + len(pruned.given_up)
            if max(pruned.tasks, pruned.notices, len(pruned.given_up)) < store.PRUNED_AT_ONCE:
                break
        days = conf.settings().keep_ended_s / 86_400
        self.stdout.write(
            f"Deleted {tasks:,} tasks that ended more than {days:g} days ago, and {notices:,} notices. "
            f"Ended {given_up:,} tasks that no worker started."
        )
