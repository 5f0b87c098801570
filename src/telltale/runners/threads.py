"""Tasks in threads of this process: for views of small sites, and for tests.

Reach: this process. Cost: nothing to install. Limits: what waits or runs dies with the process; what ran
is then shown as lost and can be run again, what waited stays queued until somebody cancels it. Owns every
tracked function that is no other runner's task.
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

from telltale.dispatch.import_paths import dotted_name, find_task
from telltale.dispatch.runner import Call, options_of
from telltale.native import PerProcess

if TYPE_CHECKING:
    from telltale.worker.run import Verdict

logger = logging.getLogger(__name__)

THREADS: Final = 4
"""How many tasks run at once; Python computes one at a time anyway."""

_running: ContextVar[Call | None] = ContextVar("telltale_thread_call", default=None)


class ThreadRunner:
    """`telltale.enqueue(function, …)` runs it soon in a thread of this process."""

    name = "thread"
    runs_async = True

    def install(self) -> None:
        """Nothing to connect: functions have no enqueueing call of their own."""

    def owns(self, task: object) -> bool:
        """Whether it is a function that `tracked` wraps, and nobody else's."""
        options = options_of(task) if inspect.isfunction(task) else None
        return options is not None and options.runner in (None, self.name)

    def name_of(self, task: object) -> str:
        """Where it can be imported from."""
        return dotted_name(task)

    def function_of(self, task: object) -> object:
        """The function itself."""
        return task

    def find(self, name: str) -> object | None:
        """Import it; None if it can't be imported, or is not this runner's."""
        return find_task(name, self.owns)

    def new_id(self) -> str:
        """A random one."""
        return uuid4().hex

    def enqueue(
        self, task: object, args: Sequence[Any], kwargs: Mapping[str, Any], *, task_id: UUID, runner_id: str | None
    ) -> str:
        """Hand it to the pool."""
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
        _pool.get().submit(_run, task, call)
        return call.runner_id

    def current_call(self) -> Call | None:
        """The call that this thread, or a coroutine in it, is running."""
        return _running.get()

    def verdict(self, error: BaseException) -> "Verdict | None":
        """Exceptions mean what they say."""
        return None


_pool = PerProcess(partial(ThreadPoolExecutor, max_workers=THREADS, thread_name_prefix="telltale-task"))


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
    except (Cancelled, TaskError) as end:
        logger.info("Task %s (%s) ended early: %r", call.name, call.task_id, end)
    except BaseException:
        logger.exception("Task %s (%s) failed.", call.name, call.task_id)
    finally:
        _running.reset(token)
        connections.close_all()
