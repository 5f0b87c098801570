"""Tasks of django-q2 (1.8 or newer), with the ORM, Redis or any other of its brokers.

Reach: every process where its clusters run. django-q2 enqueues plain functions, so the decorator names it:
`@telltale.tracked(runner="django_q")`. The task's package carries our header.

A package that is not acknowledged is delivered again after the cluster's `retry` seconds. That happens to the task of
a killed worker and, unless `ack_failures` is set, to one that failed; the latter is shown as retrying.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import django_q.tasks
from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.utils.translation import gettext as _
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf
from django_q.exceptions import TimeoutException
from django_q.signals import post_execute_in_worker, pre_enqueue, pre_execute
from django_q.signing import SignedPackage
from django_q.status import Stat

from telltale.core.states import State
from telltale.dispatch.follow import options_of_task, shown
from telltale.dispatch.import_paths import FunctionRunner, dotted_name, import_or_none
from telltale.dispatch.patching import patch
from telltale.dispatch.runner import Call, TaskOptions, options_of, stored_record, suppress_and_log
from telltale.dispatch.task_header import HEADER, TaskHeader, new_header, sending
from telltale.dispatch.waiting_ids import MAX_MESSAGES, READ_TOGETHER, WaitingIds, read_ids, waiting_ids

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

STAT_READS: Final = 4
"""How often the list of clusters is read before it counts as empty."""

_running: ContextVar[dict[str, Any] | None] = ContextVar("telltale_django_q_task", default=None)
"""The package of the task that this worker executes."""

_publishing: ContextVar[dict[str, Any] | None] = ContextVar("telltale_django_q_package", default=None)
"""The package that is being enqueued, if its row is still to be created."""


class DjangoQRunner(FunctionRunner):
    """Shows tasks that are enqueued by `async_task`, chains, groups, schedules or `telltale.enqueue`."""

    name = "django_q"

    def install(self) -> None:
        """Connect to the signals, and patch the brokers and the packages.

        No signal is sent after a package is enqueued, and none can replace the function that a worker runs.
        """
        pre_enqueue.connect(_add_header, dispatch_uid="telltale.runners.django_q", weak=False)
        pre_execute.connect(_on_start, dispatch_uid="telltale.runners.django_q", weak=False)
        post_execute_in_worker.connect(_on_end, dispatch_uid="telltale.runners.django_q", weak=False)
        patch(django_q.tasks, "get_broker", _get_broker)
        patch(SignedPackage, "loads", _load_package)

    def owns(self, task: object) -> bool:
        """Whether it is a function that is tracked with `runner="django_q"`."""
        options = options_of(task)
        return options is not None and options.runner == self.name

    def options_for(self, task: Any) -> TaskOptions | None:
        """Those of the function, or of its dotted name."""
        return options_of_task(task, dotted_name(task))

    def find(self, name: str) -> object | None:
        """The function of that dotted name, if it is shown; None if it can't be imported, or is another runner's."""
        function = import_or_none(name)
        is_followed = options_of(function) is None and options_of_task(function, name) is not None
        return function if callable(function) and is_followed else super().find(name)

    def new_id(self) -> str:
        """An id like django-q2's own."""
        return uuid4().hex

    def enqueue(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Call `async_task`; the signal's handler adds the header and the id."""
        with sending(task_id, runner_id=runner_id):
            return str(django_q.tasks.async_task(self.name_of(task), *args, **kwargs))

    def current_call(self) -> Call | None:
        """The task that this worker executes."""
        package = _running.get()
        return None if package is None else _call(package)

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Retrying if the failure is not acknowledged; also translates django-q2's time limit."""
        from telltale import store
        from telltale.worker.run import Verdict

        text = _("The task took too long and was stopped.") if isinstance(error, TimeoutException) else None
        if _will_be_redelivered(_running.get() or {}):
            return Verdict(state=State.RETRYING, due_at=store.now() + Conf.RETRY, error=text)
        return Verdict(state=State.FAILED, error=text) if text else None

    def convert_cancellation(self, error: BaseException) -> BaseException:
        """The error itself. django-q2 records a failure, which must be acknowledged so that it is not retried."""
        package = _running.get()
        if package is not None:
            package["ack_failure"] = True
        return error

    def is_listening(self, task: object) -> bool | None:
        """Whether a cluster has reported in the last seconds; None if the site's cache is not shared by processes."""
        if isinstance(caches[Conf.CACHE], LocMemCache | DummyCache):
            return None
        # While django-q2 goes through its list, it removes dead clusters, and so skips the one after each of them.
        # Every read at least halves the list.
        return any(Stat.get_all() for _read in range(STAT_READS))

    def queue_of(self, task: object) -> str:
        """The name of the cluster by the settings."""
        return str(Conf.CLUSTER_NAME)

    def record(self, runner_id: str, queue: str) -> Any:
        """The stored success or failure."""
        found = (stored_record(f"django_q.{model}", pk=runner_id) for model in ("Success", "Failure"))
        return next(filter(None, found), None)

    def redelivers(self, task: object) -> bool:
        """Always: the brokers deliver again what was not acknowledged."""
        return True

    def has_message(self, task: object, runner_id: str) -> bool | None:
        """Whether the package is stored; None if too many are, and with brokers other than the ORM and Redis.

        The ORM keeps a package until it is acknowledged. Redis does not: a package that is not there may wait in the
        memory of a cluster.
        """
        broker = get_broker()
        kind = (type(broker).__module__, type(broker).__name__)
        if kind == ("django_q.brokers.orm", "ORM"):
            return waiting_ids((self.name, "orm"), _search_orm).has(runner_id)
        if kind == ("django_q.brokers.redis_broker", "Redis"):
            return waiting_ids((self.name, broker.list_key), partial(_search_redis, broker)).has(runner_id) or None
        return None


def _search_orm() -> WaitingIds:
    from django_q.models import OrmQ

    # Of all clusters, because a call can name its cluster.
    packages = OrmQ.objects.using(Conf.ORM).order_by("pk").values_list("payload", flat=True)
    return read_ids(packages[: MAX_MESSAGES + 1].iterator(READ_TOGETHER), _id_of_package)


def _search_redis(broker: Any) -> WaitingIds:
    return read_ids(broker.connection.lrange(broker.list_key, 0, MAX_MESSAGES), _id_of_package)


def _id_of_package(payload: Any) -> str:
    return str(SignedPackage.loads(payload)["id"])


def _function(package: Mapping[str, Any]) -> object | None:
    function: object = package["func"]
    return import_or_none(function) if isinstance(function, str) else function


def _name(package: Mapping[str, Any]) -> str:
    function = _function(package)
    return dotted_name(function) if hasattr(function, "__qualname__") else str(package["func"])


def _options(package: Mapping[str, Any]) -> TaskOptions | None:
    return options_of_task(_function(package), _name(package))


def _call(package: Mapping[str, Any]) -> Call:
    header = TaskHeader.from_json(package.get(HEADER))
    return Call(
        runner=DjangoQRunner.name,
        runner_id=str(package["id"]),
        name=_name(package),
        args=package["args"],
        kwargs=package["kwargs"],
        task_id=header.task_id if header else None,
        owner=header.owner if header else None,
        options=_options(package),
        queue=str(package.get("cluster") or Conf.CLUSTER_NAME),
    )


def _will_be_redelivered(package: Mapping[str, Any]) -> bool:
    if package.get("sync") or package.get("ack_failure", Conf.ACK_FAILURES) or "ack_id" not in package:
        return False
    if not Conf.MAX_ATTEMPTS:
        return True
    from django_q.models import Task

    attempts = Task.objects.filter(id=package["id"]).values_list("attempt_count", flat=True).first() or 0
    return bool(attempts + 1 < Conf.MAX_ATTEMPTS)


@suppress_and_log
def _add_header(sender: object, task: dict[str, Any], **_ignored: object) -> None:
    if _options(task) is None or HEADER in task:
        return
    parent = _running.get() or {}
    header = new_header(TaskHeader.from_json(parent.get(HEADER)))
    if header.runner_id is not None:
        task["id"] = header.runner_id
    task[HEADER] = header.to_json()
    _publishing.set(task if header.needs_row and not task.get("sync") else None)


def _get_broker(original: Callable[..., Broker], *args: Any, **kwargs: Any) -> Broker:
    broker = original(*args, **kwargs)
    patch(broker, "enqueue", _enqueue)
    return broker


def _enqueue(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    broker_id = original(*args, **kwargs)
    _create_row()
    return broker_id


@suppress_and_log
def _create_row() -> None:
    """Create the row. Not before the package is enqueued, so that a failure to enqueue leaves no row."""
    from telltale.dispatch.rows import create_row_unless_there

    package = _publishing.get()
    _publishing.set(None)
    if package is not None:
        create_row_unless_there(_call(package))


@dataclass(frozen=True)
class FollowedFunction:
    """What a worker runs in place of a function that is followed: the function, with a wrapper that shows the run."""

    function: Any
    """As the package has it: the function, or its dotted name."""
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function. Raises `ValueError` if there is no such function, as django-q2 does."""
        function: Any = import_or_none(self.function) if isinstance(self.function, str) else self.function
        if function is None:
            raise ValueError(f"Function {self.function} is not defined")
        return shown(function, function, self.name)(*args, **kwargs)

    def __str__(self) -> str:
        return self.name


def _load_package(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    package = original(*args, **kwargs)
    # Results are packages too.
    if isinstance(package, dict) and "func" in package and "result" not in package:
        _replace_followed(package)
    return package


@suppress_and_log
def _replace_followed(package: dict[str, Any]) -> None:
    if options_of(_function(package)) is None and _options(package) is not None:
        package["func"] = FollowedFunction(package["func"], _name(package))


@suppress_and_log
def _on_start(sender: object, func: object, task: dict[str, Any], **_ignored: object) -> None:
    if isinstance(func, FollowedFunction):
        task["func"] = func.function  # The worker has the function that it runs; this one is stored with the result.
    _running.set(task)


@suppress_and_log
def _on_end(sender: object, **_ignored: object) -> None:
    _running.set(None)
