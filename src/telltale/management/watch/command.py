"""Runs `telltale watch`: reads its arguments, chooses a view, and goes on until the task ends or Ctrl-C."""

import os
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final, Protocol
from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from telltale import store
from telltale.core.snapshot import Snapshot
from telltale.core.states import State
from telltale.management.watch.feed import MOST, Selection, TaskFeed
from telltale.management.watch.lines import Lines

DRAW_EVERY_S: Final = 0.1
"""The shortest time between two drawings."""

LOOK_EVERY_S: Final = 1.0
"""The longest time between two drawings: what a page says changes with time alone, too."""

INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as of shells: 128 + SIGINT."""


class View(Protocol):
    """What shows the tasks."""

    def show(self, snapshots: Sequence[Snapshot], *, now: float) -> None:
        """Show the tasks as they are at `now` (seconds, the store's clock)."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `telltale watch`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("id", nargs="?", type=_uuid, metavar="ID", help="The task. The command ends when it ends.")
    which.add_argument("--mine", metavar="USER", help="The newest unfinished tasks of this user (name or key).")
    which.add_argument("--all", action="store_true", help="The newest unfinished tasks of all (the default).")
    parser.add_argument(
        "--limit", type=_limit, default=20, metavar="N", help=f"How many of the newest tasks (20; at most {MOST})."
    )


def watch(selection: Selection, view: View) -> int:
    """Show the tasks until the one that is selected has ended; return the command's exit code. Closes the view.

    0: the task succeeded. 1: it ended in any other way. 130: Ctrl-C while it was unfinished. A list has no end of its
    own, so Ctrl-C ends it with 0.
    """
    feed = TaskFeed(selection)
    try:
        while True:
            feed.refresh()
            snapshots = feed.snapshots()
            if selection.task_id is None or snapshots:
                view.show(snapshots, now=store.now())
            elif feed.has_read:
                raise CommandError(f"The task {selection.task_id} was deleted.")
            if selection.task_id is not None and snapshots and snapshots[0].ended:
                return 0 if snapshots[0].state is State.SUCCEEDED else 1
            feed.changed.wait(LOOK_EVERY_S)
            feed.changed.clear()
            time.sleep(DRAW_EVERY_S)
    except KeyboardInterrupt:
        return INTERRUPTED if selection.task_id is not None else 0
    finally:
        view.close()
        feed.close()


def selection_of(*, id: UUID | None, mine: str | None, limit: int, **_options: Any) -> Selection:
    """Return what the arguments select; raises `CommandError` for a task or a user that there is not."""
    if id is not None and store.get_task(id) is None:
        raise CommandError(f"No task has the id {id}. `telltale watch --all` shows the ids of unfinished tasks.")
    return Selection(task_id=id, user_id=None if mine is None else _user_id(mine), limit=limit)


def view_for(stdout: Any, *, with_ids: bool, is_plain: bool) -> View:
    """Return bars for a terminal if rich is installed, and lines otherwise; `is_plain`: lines in any case."""
    is_terminal = stdout.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
    if is_plain or not is_terminal or find_spec("rich") is None:
        return Lines(lambda line: _write(stdout, line), with_ids=with_ids)
    from telltale.management.watch.bars import Bars

    return Bars(getattr(stdout, "_out", stdout), with_ids=with_ids)


def _write(stdout: Any, line: str) -> None:
    stdout.write(line)
    stdout.flush()  # Also into a pipe, whose reader waits for it.


def _user_id(text: str) -> Any:
    model = get_user_model()
    users = model._default_manager.filter(**{model.USERNAME_FIELD: text})
    found = users.values_list("pk", flat=True).first()
    if found is None:
        try:
            found = model._default_manager.filter(pk=text).values_list("pk", flat=True).first()
        except (ValueError, ValidationError):
            found = None
    if found is None:
        raise CommandError(f"No user has the name or the key {text!r}.")
    return found


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no task's id, which is a UUID.") from None


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to {MOST}.")
    return int(text)
