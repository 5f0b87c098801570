"""The view of a browser: all messages of the server merged, of any transport and in any order.

The same rules as `static/telltale/live/snapshots.js`; both are tested with `tests/traces/*.json`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from telltale.core.snapshot import Order, Snapshot, supersedes


class Ignored(NamedTuple):
    """A part of a message that changes nothing, because the view has the same or a newer one."""

    kind: str
    """`task` or `notice`."""
    id: str


class View:
    """The newest snapshot of each task, the notices in the order they came, the events as they came."""

    def __init__(self, rule: Callable[[Order, Order | None], bool] = supersedes) -> None:
        """`rule` decides which snapshot is newer; another than the real one is sabotage."""
        self._supersedes = rule
        self.tasks: dict[str, Snapshot] = {}
        self.notices: dict[str, Mapping[str, Any]] = {}
        self.events: list[Mapping[str, Any]] = []

    def receive(self, message: Mapping[str, Any]) -> list[Ignored]:
        """Merge one message of the server; return the parts that were ignored."""
        ignored = []
        for task in message.get("corrected", ()):
            self.tasks.pop(task, None)
        for data in message.get("tasks", ()):
            snapshot = Snapshot.from_json(data)
            known = self.tasks.get(snapshot.id)
            if self._supersedes(snapshot.order, known.order if known else None):
                self.tasks[snapshot.id] = snapshot
            else:
                ignored.append(Ignored("task", snapshot.id))
        for notice in message.get("notices", ()):
            if notice["id"] in self.notices:
                ignored.append(Ignored("notice", notice["id"]))
            else:
                self.notices[notice["id"]] = notice
        self.events.extend(message.get("events", ()))
        return ignored

    @property
    def have(self) -> dict[str, Order]:
        """The orders of its snapshots: a client names them when it connects, and is sent only newer ones."""
        return {id: snapshot.order for id, snapshot in self.tasks.items()}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, as in the traces."""
        return {
            "tasks": {id: snapshot.to_json() for id, snapshot in sorted(self.tasks.items())},
            "notices": list(self.notices),
            "events": self.events,
        }
