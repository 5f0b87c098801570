"""Tasks in threads of this process, for the views of small sites, and for tests.

Reach: this process. Nothing to install. Limits: tasks that wait or run are lost when the process ends; one that was
running is then shown as lost and can be retried; so can one that waited, once a later one has begun. Owns every
tracked function that no other runner owns.
"""

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

from telltale.dispatch.import_paths import FunctionRunner
from telltale.dispatch.runner import Call, options_of
from telltale.native import PerProcess

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

logger = logging.getLogger(__name__)

THREADS: Final = 4
"""How many tasks run at once. More would not help tasks that compute: Python runs one thread at a time."""

_running: ContextVar[Call | None] = ContextVar("telltale_thread_call", default=None)


class ThreadRunner(FunctionRunner):
    """Runs functions that are enqueued by `telltale.enqueue`."""

    name = "thread"
    runs_async = True

    def install(self) -> None:
        """Nothing to connect: functions have no enqueueing call of their own."""

    def owns(self, task: object) -> bool:
        """Whether it is a tracked function, and its decorator names no other runner."""
        options = options_of(task) if inspect.isfunction(task) else None
        return options is not None and options.runner in (None, self.name)

    def new_id(self) -> str:
        """A random id."""
        return uuid4().hex

    def enqueue(
        self, task: object, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Submit the call to the thread pool."""
        assert callable(task)  # noqa: S101 (narrows the type: `owns` saw to it)
        call = Call(
            runner=self.name,
            runner_id=runner_id or self.new_id(),
            name=self.name_of(task),
            args=args,
            kwargs=kwargs,
            task_id=task_id,
            options=options_of(task),
        )
        work = _Work(task, call)
        try:
            _pool.get().submit(work)
        except BaseException:
            # Without a new thread, the pool keeps what it has refused, and an earlier or a later thread would run it.
            work.is_refused = True
            raise
        return call.runner_id

    def current_call(self) -> Call | None:
        """The call that this thread, or a coroutine in it, is running."""
        return _running.get()

    def verdict(self, error: BaseException) -> "Verdict | None":
        """None: no exception has a special meaning."""
        return None


_pool = PerProcess(partial(ThreadPoolExecutor, max_workers=THREADS, thread_name_prefix="telltale-task"))


class _Work:
    """A call that is given to the pool."""

    def __init__(self, task: Callable[..., Any], call: Call) -> None:
        self._task, self._call = task, call
        self.is_refused = False

    def __call__(self) -> None:
        if not self.is_refused:
            _run(self._task, self._call)


def _run(task: Callable[..., Any], call: Call) -> None:
    from django.db import close_old_connections, connections

    from telltale.worker.run import Cancelled, TaskError

    close_old_connections()
    token = _running.set(call)
    try:
        if inspect.iscoroutinefunction(task):
            asyncio.run(task(*call.args, **(call.kwargs or {})))
        else:
            task(*call.args, **(call.kwargs or {}))
    except (Cancelled, TaskError) as error:
        logger.info("Task %s (%s) ended early: %r", call.name, call.task_id, error)
    except BaseException:
        logger.exception("Task %s (%s) failed.", call.name, call.task_id)
    finally:
        _running.reset(token)
        connections.close_all()
