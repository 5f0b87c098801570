"""`manage.py telltale …`: what an operator does by hand or from cron. Each word is a method here."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from telltale import conf, store
from telltale.messages import announce
from telltale.server.options import CannotServe, Options


class Command(BaseCommand):
    """One command with words, so that a site's list of commands stays short."""

    help = "Telltale's own commands."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One subparser a word."""
        words = parser.add_subparsers(dest="word", required=True)
        words.add_parser("prune", help="Delete what is kept no longer, and give up what nobody has begun.")
        Options.add_to(words.add_parser("serve", help="Serve the live address alone, for very many connections."))

    def handle(self, *, word: str, **options: Any) -> None:
        """The word's own method."""
        getattr(self, f"_{word}")(**options)

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
            for changed in pruned.given_up:
                announce(changed.envelopes)
            tasks, notices, given_up = tasks + pruned.tasks, notices + pruned.notices, given_up + len(pruned.given_up)
            if max(pruned.tasks, pruned.notices, len(pruned.given_up)) < store.PRUNED_AT_ONCE:
                break
        days = conf.settings().keep_ended_s / 86_400
        self.stdout.write(
            f"Deleted {tasks:,} tasks that ended more than {days:g} days ago and {notices:,} messages; "
            f"gave up {given_up:,} that nobody had begun."
        )
