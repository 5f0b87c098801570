"""Tasks of django-q2 (1.8 or newer), over the ORM, Redis or any other of its brokers.

Reach: wherever its clusters are. It enqueues plain functions, so a function is its own if the options says so:
`@telltale.tracked(runner="django_q")`. What Telltale needs travels in the task's package.

What is not acknowledged comes again after the cluster's `retry` seconds: a killed worker's task, and, unless
`ack_failures` is set, one that failed; that is then shown as retrying.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import django_q.tasks
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.translation import gettext as _
from django_q.brokers import Broker
from django_q.conf import Conf
from django_q.exceptions import TimeoutException
from django_q.signals import post_execute_in_worker, pre_enqueue, pre_execute
from django_q.status import Stat

from telltale.core.states import State
from telltale.dispatch.import_paths import dotted_name, find_task, import_or_none
from telltale.dispatch.runner import OPTIONS_ATTRIBUTE, Call, options_of, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, new_header, sending

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

STAT_LOOKS: Final = 4
"""How often clusters are looked for before it is said that none is there."""

_running: ContextVar[dict[str, Any] | None] = ContextVar("telltale_django_q_task", default=None)
_publishing: ContextVar[dict[str, Any] | None] = ContextVar("telltale_django_q_package", default=None)


class DjangoQRunner:
    """`async_task(…)`, chains, groups, schedules and `telltale.enqueue(function, …)` make the row."""

    name = "django_q"

    def install(self) -> None:
        """Connect to its signals, and see when a package is out."""
        pre_enqueue.connect(_before, dispatch_uid="telltale.runners.django_q", weak=False)
        pre_execute.connect(_begun, dispatch_uid="telltale.runners.django_q", weak=False)
        post_execute_in_worker.connect(_done, dispatch_uid="telltale.runners.django_q", weak=False)
        if not hasattr(django_q.tasks.get_broker, OPTIONS_ATTRIBUTE):
            django_q.tasks.get_broker = _telling(django_q.tasks.get_broker)

    def owns(self, task: object) -> bool:
        """Whether its options says so."""
        options = options_of(task)
        return options is not None and options.runner == self.name

    def name_of(self, task: Any) -> str:
        """Where it can be imported from."""
        return dotted_name(task)

    def function_of(self, task: Any) -> object:
        """The function itself."""
        return task

    def find(self, name: str) -> object | None:
        """Import it; None if it can't be imported, or is not this runner's."""
        return find_task(name, self.owns)

    def new_id(self) -> str:
        """As django-q2 makes its own."""
        return uuid4().hex

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """By its own `async_task`."""
        with sending(task_id, runner_id=runner_id):
            return str(django_q.tasks.async_task(self.name_of(task), *args, **kwargs))

    def current_call(self) -> Call | None:
        """The task that this worker executes."""
        package = _running.get()
        return None if package is None else _call(package)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """A failure that is not acknowledged comes again."""
        from telltale import store
        from telltale.worker.run import Verdict

        words = _("The task took too long and was stopped.") if isinstance(error, TimeoutException) else None
        if _comes_again(_running.get() or {}):
            return Verdict(state=State.RETRYING, due_at=store.now() + Conf.RETRY, error=words)
        return Verdict(state=State.FAILED, error=words) if words else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """django-q2 files it as failed; what it must not do is bring it again."""
        package = _running.get()
        if package is not None:
            package["ack_failure"] = True
        return error

    def is_listening(self, task: object) -> bool | None:
        """Whether a cluster has reported in the last seconds; that goes by the site's cache, if it is a shared one."""
        if isinstance(caches[Conf.CACHE], LocMemCache | DummyCache):
            return None
        # It strikes the dead off its list while it goes through it, and so overlooks whoever stands behind one:
        # each time the list is at most half as long.
        return any(Stat.get_all() for _look in range(STAT_LOOKS))

    def redelivers(self, task: object) -> bool:
        """Its brokers bring again what nobody acknowledged."""
        return True


def _function(package: Mapping[str, Any]) -> object | None:
    function: object = package["func"]
    return import_or_none(function) if isinstance(function, str) else function


def _call(package: Mapping[str, Any]) -> Call:
    carried = TaskHeader.from_json(package.get(HEADER))
    function: Any = _function(package)
    return Call(
        runner=DjangoQRunner.name,
        runner_id=str(package["id"]),
        name=dotted_name(function) if function else str(package["func"]),
        args=package["args"],
        kwargs=package["kwargs"],
        task_id=carried.task_id if carried else None,
        owner=carried.owner if carried else None,
        options=options_of(function),
    )


def _comes_again(package: Mapping[str, Any]) -> bool:
    if package.get("sync") or package.get("ack_failure", Conf.ACK_FAILURES) or "ack_id" not in package:
        return False
    if not Conf.MAX_ATTEMPTS:
        return True
    from django_q.models import Task

    done = Task.objects.filter(id=package["id"]).values_list("attempt_count", flat=True).first() or 0
    return bool(done + 1 < Conf.MAX_ATTEMPTS)


@suppress_and_log
def _before(sender: object, task: dict[str, Any], **_ignored: object) -> None:
    """Give the package its birth certificate."""
    if options_of(_function(task)) is None or HEADER in task:
        return
    here = _running.get()
    carried = new_header(TaskHeader.from_json(here.get(HEADER)) if here else None)
    if carried.runner_id is not None:
        task["id"] = carried.runner_id
    task[HEADER] = carried.to_json()
    _publishing.set(task if carried.needs_row and not task.get("sync") else None)


def _telling(get_broker: Callable[..., Broker]) -> Callable[..., Broker]:
    @wraps(get_broker)
    def get(*args: Any, **kwargs: Any) -> Broker:
        broker = get_broker(*args, **kwargs)
        enqueue = broker.enqueue

        def telling(pack: Any) -> Any:
            answer = enqueue(pack)
            _published()
            return answer

        if not hasattr(enqueue, OPTIONS_ATTRIBUTE):
            setattr(telling, OPTIONS_ATTRIBUTE, True)
            broker.enqueue = telling
        return broker

    setattr(get, OPTIONS_ATTRIBUTE, True)
    return get


@suppress_and_log
def _published() -> None:
    """Make the row once the package is out, so that a failure to enqueue leaves none."""
    from telltale.dispatch.rows import create_row_unless_there

    package = _publishing.get()
    _publishing.set(None)
    if package is not None:
        create_row_unless_there(_call(package))


@suppress_and_log
def _begun(sender: object, func: object, task: dict[str, Any], **_ignored: object) -> None:
    _running.set(task)


@suppress_and_log
def _done(sender: object, **_ignored: object) -> None:
    _running.set(None)
