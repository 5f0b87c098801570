"""Runs `telltale unseen`, once or repeatedly, and `telltale push-keys`."""

import logging
from argparse import ArgumentParser
from collections.abc import Callable
from time import sleep

from django.core.management.base import CommandError
from django.db import Error, connections

from telltale import conf
from telltale.management.numbers import positive
from telltale.push.delivery import push_due
from telltale.push.options import INSTALL, WrongKey, WrongSubject, new_private_key, options, public_key_of
from telltale.unseen import hand_over

logger = logging.getLogger(__name__)

Report = Callable[[str], None]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `telltale unseen`."""
    parser.add_argument("--every", type=positive, metavar="SECONDS", help="Repeat with this pause, until stopped.")


def run(*, every_s: float | None, report: Report) -> None:
    """Hand over what is due: once, or with pauses of `every_s` seconds until the process is stopped.

    Raises `CommandError` without a setting that says how, and if something failed in a call that is made once.
    """
    if conf.settings().unseen is None and options() is None:
        raise CommandError(
            'Set TELLTALE["UNSEEN"], for example to "telltale.unseen.mail", or TELLTALE["PUSH"]: docs/messages.md.'
        )
    if every_s is None:
        _once(report)
    while every_s is not None:
        try:
            _once(report)
        except (CommandError, Error) as error:
            logger.error("%s", error)
        # A connection that the pause outlives is closed by the database.
        connections.close_all()
        sleep(every_s)


def _once(report: Report) -> None:
    problems: list[str] = []
    if options() is not None:
        try:
            pushed = push_due()
        except ImportError as error:
            raise CommandError(f"Web push needs packages ({error}): {INSTALL}.") from error
        except (WrongKey, WrongSubject) as error:
            raise CommandError(f"TELLTALE['PUSH'] can't be used. {error}") from error
        report(f"Pushed {pushed.notices:,} notices.")
        if pushed.failures:
            problems.append(f"{pushed.failures:,} push messages failed; their notices wait for the next call.")
    if conf.settings().unseen is not None:
        done = hand_over()
        report(f"Handed over {done.notices:,} notices of {done.users:,} users.")
        if done.failures:
            problems.append(f"The hook failed for {done.failures:,} users; their notices wait for the next call.")
    if problems:
        raise CommandError(" ".join(problems))


def report_new_keys(report: Report) -> None:
    """Print the setting with a new private key, and its public key for what else needs it."""
    try:
        key = new_private_key()
        public = public_key_of(key)
    except ImportError as error:
        raise CommandError(f"Keys need a package ({error}): {INSTALL}.") from error
    report(f'TELLTALE["PUSH"] = {{"VAPID_PRIVATE_KEY": "{key}", "VAPID_SUBJECT": "mailto:you@example.com"}}')
    report(f"The public key, which pages get by themselves: {public}")
    report("Keep the private key secret, and keep it: with another one, browsers must subscribe again.")
