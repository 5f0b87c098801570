"""The spool: ends that a process could not write before it exited, in files that later processes of the machine write.

A process that is stopped in an outage of the database would take the ends of its tasks with it, and they would be shown
as lost although their work is done. Each end is a file in a directory that only this system user can read, because an
end has the traceback of an error. Savers read the directory now and then; writing an end twice changes nothing.
"""

import json
import logging
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from inspect import signature
from pathlib import Path
from typing import Any, Final, Self
from uuid import uuid4

from django.db import DataError, IntegrityError, connections, transaction

from telltale import conf, store
from telltale.core.snapshot import Progress, known_fields
from telltale.core.states import State
from telltale.messages import announce
from telltale.models import TaskState
from telltale.worker.attempt import worker_name

logger = logging.getLogger(__name__)

READ_AT_ONCE: Final = 100
"""How many files a saver reads before it does other work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledEnd:
    """The end of an attempt, as plain JSON."""

    task_id: str | None
    runner: str | None
    runner_id: str | None
    attempt: int | None
    """The number under which it was claimed; None if the database was unavailable all along."""
    state: str
    fields: Mapping[str, Any]
    """The arguments of `store.end`, or of `store.set_retrying`."""

    def write(self) -> None:
        """Write the end to the database and publish it, unless a newer attempt began. Raises `django.db.Error`."""
        rows = store.task_rows()
        by_runner = {"runner": self.runner, "runner_id": self.runner_id}
        row = (rows.filter(pk=self.task_id) if self.task_id else rows.filter(**by_runner)).first()
        if row is None:
            return
        if self.attempt is None:
            self._claim_and_write(row)
            return
        claim = store.Claim(id=row.pk, attempt=self.attempt, seq=0, topics=row.topics, snapshot=row.snapshot)
        changed = self._write(claim)
        if changed is None and (taken_back := store.take_back(claim, is_ending=True)) is not None:
            changed = self._write(taken_back[0])  # A reader has presumed it lost meanwhile.
        announce(changed.envelopes if changed else [])

    def _claim_and_write(self, row: TaskState) -> None:
        """Claim the attempt and end it in one transaction: a claim without its end would refuse the next try."""
        with transaction.atomic(using=conf.settings().database):
            claim = store.claim(task_id=row.pk, worker=worker_name(os.getpid()), at_most_once=True)
            changed = self._write(claim) if isinstance(claim, store.Claim) else claim.changed
        announce(changed.envelopes if changed else [])
        if row.group_id is not None:
            # Another member may have ended during the transaction, and did not see this end.
            group = store.recount(row.group_id)
            announce(group.envelopes if group else [])

    def _write(self, claim: store.Claim) -> store.Changed | None:
        fields = dict(self.fields)
        if fields.get("progress") is not None:
            fields["progress"] = Progress.from_json(fields["progress"])
        if self.state == State.RETRYING:
            return store.set_retrying(claim.id, claim.attempt, **fields)
        return store.end(claim.id, claim.attempt, State(self.state), **fields)

    def to_json(self) -> str:
        """The end as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The reverse of `to_json`; raises `ValueError`, `TypeError` or `KeyError` for anything else.

        Names that this version does not know are left out: a process of a newer one may have written the file.
        """
        data = json.loads(text)
        known = signature(store.set_retrying if data["state"] == State.RETRYING else store.end).parameters
        values = known_fields(cls, data)
        values["fields"] = {name: value for name, value in data["fields"].items() if name in known}
        return cls(**values)


def put(end: SpooledEnd) -> None:
    """Store an end for another process. If that is impossible, say so in the log: the lease ends the attempt."""
    try:
        name = _made_directory() / f"{uuid4().hex}.json"
        # Under its final name only once it is complete.
        descriptor = os.open(name.with_suffix(".part"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(end.to_json())
        name.with_suffix(".part").rename(name)
    except (OSError, TypeError, ValueError):
        logger.exception("The end (%s) of task %s can't be written.", end.state, end.task_id or end.runner_id)
    else:
        logger.warning("The end (%s) of task %s waits in %s.", end.state, end.task_id or end.runner_id, name)


def write_all() -> None:
    """Write the ends that other processes have left. Raises `django.db.Error`; then they stay."""
    for path in _files():
        try:
            end = SpooledEnd.from_json(path.read_text(encoding="utf-8"))
            with store.time_limit():
                end.write()
        except FileNotFoundError:
            continue  # Another process has written it.
        except (ValueError, TypeError, KeyError, DataError, IntegrityError):
            logger.exception("%s is no end of a task; it is deleted.", path)
        path.unlink(missing_ok=True)


def _files() -> list[Path]:
    try:
        _root, directory = _directories()
        return sorted(directory.glob("*.json"))[:READ_AT_ONCE]
    except OSError:
        return []


def _made_directory() -> Path:
    """The directory of this database's ends, which is created. Raises `OSError` if others can write there."""
    root, directory = _directories()
    for path in (root, directory):
        path.mkdir(mode=0o700, exist_ok=True)
    about = root.lstat()
    if hasattr(os, "getuid") and (not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid()):
        raise PermissionError(
            f"{root} belongs to another user. Set TELLTALE['SPOOL'] to a directory of the worker's user."
        )
    if about.st_mode & 0o022:
        raise PermissionError(f"Others can write to {root}. Set its mode to 700.")
    return directory


def _directories() -> tuple[Path, Path]:
    """The spool's directory, and the one in it for this database."""
    settings = connections[conf.settings().database].settings_dict
    database = "\0".join(str(settings[key]) for key in ("ENGINE", "NAME", "HOST", "PORT"))
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    root = Path(conf.settings().spool or Path(tempfile.gettempdir()) / f"telltale-{user}")
    return root, root / sha256(database.encode()).hexdigest()[:16]
