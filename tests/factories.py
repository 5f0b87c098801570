"""What the tests of pages and transports begin with: people, their tasks, and what a worker would say."""

from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.test import RequestFactory

from telltale import store
from telltale.core.snapshot import Progress, Snapshot
from telltale.core.states import State
from telltale.messages import announce
from telltale.models import TaskState
from telltale.owners import Owner


def person(name: str = "ada", **more: Any) -> Any:
    return get_user_model().objects.create_user(name, password="x", **more)


def task_of(owner: Any = None, *, label: str = "Import airports", **more: Any) -> TaskState:
    """A queued task."""
    return store.queue(runner="thread", name="tests.app.nothing", label=label, owner=Owner.of(owner), **more).task


def started(task: TaskState) -> store.Claim:
    claim = store.claim(task_id=task.pk, worker="w1")
    assert isinstance(claim, store.Claim)
    return claim


def moved(claim: store.Claim, fraction: float, *, seq: int, **more: Any) -> Snapshot:
    """Its worker reports, saves and tells."""
    progress = Progress(fraction=fraction, current=fraction * 100, total=100)
    store.save([store.Report(id=claim.id, attempt=claim.attempt, seq=seq, progress=progress, **more)])
    return told(claim.id)


def told(task_id: UUID) -> Snapshot:
    envelopes = store.read_tasks([task_id])
    announce(envelopes)
    assert envelopes[0].snapshot is not None
    return envelopes[0].snapshot


def ended(claim: store.Claim, state: State = State.SUCCEEDED, **more: Any) -> store.Changed:
    changed = store.end(claim.id, claim.attempt, state, **more)
    assert changed is not None
    announce(changed.envelopes)
    return changed


def asked_by(user: Any = None) -> HttpRequest:
    """A request as a view gets it."""
    request = RequestFactory().get("/")
    if user is not None:
        request.user = user
    return request


def unknown_id() -> str:
    return str(uuid4())
