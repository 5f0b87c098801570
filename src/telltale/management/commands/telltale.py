"""`manage.py telltale` with its subcommands, such as `doctor`, `prune`, `serve` and `unseen`. Each is a method."""

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from telltale import conf, store
from telltale.management.doctor import command as doctor
from telltale.management.numbers import positive
from telltale.management.unseen import command as unseen
from telltale.management.watch import command as watching
from telltale.messages import announce
from telltale.pusher.traffic import measure, report
from telltale.server.options import CannotServe, Options


class Command(BaseCommand):
    """One command with subcommands, so that a site's list of commands stays short."""

    help = (
        "Delete old tasks and notices, run the live server or a worker, watch tasks, examine a running set-up, or show "
        "what a site's progress would cost."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a parser for each subcommand."""
        subcommands = parser.add_subparsers(dest="subcommand", required=True)
        doctor.add_arguments(subcommands.add_parser("doctor", help="Find what is wrong with a running set-up."))
        subcommands.add_parser(
            "prune", help="Delete old tasks and notices, and end tasks that no worker started, as the settings say."
        )
        unseen.add_arguments(
            subcommands.add_parser(
                "unseen", help="Hand over notices that no page has shown: by web push, to mail or to a hook."
            )
        )
        subcommands.add_parser("push-keys", help="Make a new pair of keys for web push, and print the setting.")
        Options.add_to(subcommands.add_parser("serve", help="Run the live server, for very many live connections."))
        watching.add_arguments(subcommands.add_parser("watch", help="Watch tasks in this terminal."))
        worker = subcommands.add_parser("worker", help="Run the consumers of some channels of Django Channels.")
        worker.add_argument(
            "--channels", nargs="+", required=True, metavar="NAME", help="Channels to take messages of."
        )
        worker.add_argument("--concurrency", type=int, default=1, metavar="N", help="Messages handled at once (1).")
        worker.add_argument("--application", metavar="PATH", help="Dotted path, if it is not that of ASGI_APPLICATION.")
        worker.add_argument(
            "--layer", default="default", metavar="ALIAS", help='The layer of CHANNEL_LAYERS ("default").'
        )
        traffic = subcommands.add_parser(
            "traffic", help="Show what progress costs at a service that bills messages and connections."
        )
        traffic.add_argument("--days", type=positive, default=7.0, help="The tasks that ended in this time (7).")
        traffic.add_argument("--pages", type=positive, default=1.0, help="Pages that get each update, on average (1).")
        traffic.add_argument(
            "--messages-a-day",
            type=positive,
            default=200_000,
            help="The plan's limit; 200,000 are free (November 2026).",
        )
        traffic.add_argument(
            "--connections", type=positive, default=100, help="The plan's limit; 100 are free (November 2026)."
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django's, but the doctor reports errors of the system checks itself, beside all else that is wrong."""
        if options.get("subcommand") == "doctor":
            options["skip_checks"] = True
        return super().execute(*args, **options)

    def handle(self, *, subcommand: str, **options: Any) -> None:
        """Call the method of the subcommand."""
        getattr(self, f"_{subcommand.replace('-', '_')}")(**options)

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

    def _doctor(self, *, url: str | None, json: bool, **_options: Any) -> None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise CommandError(f"--url is {url!r}: give the site's whole address, such as https://example.com/.")
        findings = doctor.examine(url)
        doctor.report(findings, url=url, is_json=json, write=self.stdout.write)
        if findings:
            raise SystemExit(1)

    def _watch(self, *, no_color: bool, **options: Any) -> None:
        selection = watching.selection_of(**options)
        view = watching.view_for(self.stdout, with_ids=selection.task_id is None, is_plain=no_color)
        try:
            code = watching.watch(selection, view)
        except BrokenPipeError:
            # The reader of the pipe has seen enough, such as `head`. Python would report the pipe again at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        if code:
            raise SystemExit(code)

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

    def _traffic(
        self, *, days: float, pages: float, messages_a_day: float, connections: float, **_options: Any
    ) -> None:
        traffic = measure(days)
        for line in report(traffic, pages=pages, messages_a_day=messages_a_day, connections=connections):
            self.stdout.write(line)

    def _report(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()

    def _unseen(self, *, every: float | None, **_options: Any) -> None:
        unseen.run(every_s=every, report=self._report)

    def _push_keys(self, **_options: Any) -> None:
        unseen.report_new_keys(self._report)

    def _prune(self, **_options: Any) -> None:
        tasks = notices = given_up = 0
        while True:
            pruned = store.prune()
            for change in pruned.given_up:
                announce(change.envelopes)
            tasks, notices, given_up = tasks + pruned.tasks, notices + pruned.notices, given_up + len(pruned.given_up)
            if max(pruned.tasks, pruned.notices, pruned.followers, len(pruned.given_up)) < store.PRUNED_AT_ONCE:
                break
        days = conf.settings().keep_ended_s / 86_400
        self.stdout.write(
            f"Deleted {tasks:,} tasks that ended more than {days:g} days ago, and {notices:,} notices. "
            f"Ended {given_up:,} tasks that no worker started."
        )
