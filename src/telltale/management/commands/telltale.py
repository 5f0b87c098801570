"""`manage.py telltale prune`, `serve` and `worker`. Each subcommand is a method."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from telltale import conf, store
from telltale.messages import announce
from telltale.server.options import CannotServe, Options


class Command(BaseCommand):
    """One command with subcommands, so that a site's list of commands stays short."""

    help = "Delete old tasks and notices, run the live server, or run a worker for tasks of Django Channels."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a parser for each subcommand."""
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        subcommands.add_parser(
            "prune", help="Delete old tasks and notices, and end tasks that no worker started, as the settings say."
        )
        Options.add_to(subcommands.add_parser("serve", help="Run the live server, for very many live connections."))
        worker = subcommands.add_parser("worker", help="Run the consumers of some channels of Django Channels.")
        worker.add_argument(
            "--channels", nargs="+", required=True, metavar="NAME", help="Channels to take messages of."
        )
        worker.add_argument("--concurrency", type=int, default=1, metavar="N", help="Messages handled at once (1).")
        worker.add_argument("--application", metavar="PATH", help="Dotted path, if it is not that of ASGI_APPLICATION.")
        worker.add_argument(
            "--layer", default="default", metavar="ALIAS", help='The layer of CHANNEL_LAYERS ("default").'
        )

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

    def _worker(
        self, *, channels: list[str], concurrency: int, application: str | None, layer: str, **_options: Any
    ) -> None:
        try:
            from telltale.channels.worker.worker import CannotWork, work
        except ImportError as error:
            raise CommandError(
                f"The worker can't be imported ({error}): pip install django-telltale[channels]."
            ) from error
        try:
            work(channels, concurrency=concurrency, application=application, layer=layer, report=self._report)
        except CannotWork as error:
            raise CommandError(str(error)) from error

    def _report(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

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
