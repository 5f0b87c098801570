"""Telltale keeps people in the loop about background work. These are its public names.

They are found on first use, so that `import telltale` works before Django's apps are ready.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from telltale.dispatch.async_forms import acancel as acancel
    from telltale.dispatch.async_forms import aenqueue as aenqueue
    from telltale.dispatch.async_forms import aenqueue_many as aenqueue_many
    from telltale.dispatch.async_forms import aretry as aretry
    from telltale.dispatch.command import call_command as call_command
    from telltale.dispatch.control import cancel as cancel
    from telltale.dispatch.control import retry as retry
    from telltale.dispatch.enqueue import enqueue as enqueue
    from telltale.dispatch.enqueue import enqueue_many as enqueue_many
    from telltale.dispatch.follow import follow as follow
    from telltale.dispatch.tracked import tracked as tracked
    from telltale.messages import anotify as anotify
    from telltale.messages import apublish as apublish
    from telltale.messages import notify as notify
    from telltale.messages import publish as publish
    from telltale.owners import owned_by as owned_by
    from telltale.pages.accepted import accepted as accepted
    from telltale.pages.async_forms import aaccepted as aaccepted
    from telltale.pages.async_forms import aticket_for as aticket_for
    from telltale.pages.permissions import ticket_for as ticket_for
    from telltale.worker.current import check_cancelled as check_cancelled
    from telltale.worker.current import current as current
    from telltale.worker.current import no_cancel as no_cancel
    from telltale.worker.current import stage as stage
    from telltale.worker.loops import progress as progress
    from telltale.worker.run import Cancelled as Cancelled
    from telltale.worker.run import TaskError as TaskError
    from telltale.worker.run import track as track

__version__ = "0.1.0"

_HOMES = {
    "Cancelled": "telltale.worker.run",
    "TaskError": "telltale.worker.run",
    "aaccepted": "telltale.pages.async_forms",
    "acancel": "telltale.dispatch.async_forms",
    "accepted": "telltale.pages.accepted",
    "aenqueue": "telltale.dispatch.async_forms",
    "aenqueue_many": "telltale.dispatch.async_forms",
    "anotify": "telltale.messages",
    "apublish": "telltale.messages",
    "aretry": "telltale.dispatch.async_forms",
    "aticket_for": "telltale.pages.async_forms",
    "call_command": "telltale.dispatch.command",
    "cancel": "telltale.dispatch.control",
    "check_cancelled": "telltale.worker.current",
    "current": "telltale.worker.current",
    "enqueue": "telltale.dispatch.enqueue",
    "enqueue_many": "telltale.dispatch.enqueue",
    "follow": "telltale.dispatch.follow",
    "no_cancel": "telltale.worker.current",
    "notify": "telltale.messages",
    "owned_by": "telltale.owners",
    "progress": "telltale.worker.loops",
    "publish": "telltale.messages",
    "retry": "telltale.dispatch.control",
    "stage": "telltale.worker.current",
    "ticket_for": "telltale.pages.permissions",
    "track": "telltale.worker.run",
    "tracked": "telltale.dispatch.tracked",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'telltale' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
