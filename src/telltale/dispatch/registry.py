"""The registry of runners: one instance of each, a process.

Known are those that come with Telltale and whatever other packages announce under the entry point
group `telltale.runners`. Without `TELLTALE["RUNNERS"]` all that can be imported here are installed; with
it, exactly those it names (by name or dotted path), and a missing library is an error that names the mend.
"""

import logging
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from telltale import conf
from telltale.dispatch.runner import Runner

logger = logging.getLogger(__name__)

GROUP: Final = "telltale.runners"

# Spelled out, so that a checkout that was never installed, and so has no entry points, knows them too.
_OURS: Final = {
    "celery": "telltale.runners.celery:CeleryRunner",
    "django_q": "telltale.runners.django_q:DjangoQRunner",
    "django_tasks": "telltale.runners.django_tasks:DjangoTasksRunner",
    "dramatiq": "telltale.runners.dramatiq:DramatiqRunner",
    "huey": "telltale.runners.huey:HueyRunner",
    "procrastinate": "telltale.runners.procrastinate:ProcrastinateRunner",
    "rq": "telltale.runners.rq:RQRunner",
    "thread": "telltale.runners.threads:ThreadRunner",
}
# Their modules need their own tables: without their app they are not this site's.
_APPS: Final = {"django_q": "django_q", "procrastinate": "procrastinate.contrib.django"}
_EXTRAS: Final = {name: name for name in _OURS} | {"django_tasks": "tasks", "django_q": "q2"}


def install() -> None:
    """Connect each runner to its signals; called once, when Django's apps are ready."""
    for runner in all_runners():
        runner.install()


@cache
def all_runners() -> tuple[Runner, ...]:
    """The runners of this process, those that own the most particular kinds of task first."""
    wanted = conf.settings().runners
    if wanted is None:
        return tuple(_importable())
    return tuple(_last(_named(name) for name in wanted))


def by_name(name: str) -> Runner | None:
    """The runner of that `TaskState.runner`; None if it is not installed here."""
    return next((runner for runner in all_runners() if runner.name == name), None)


def runner_of(task: object) -> Runner:
    """The runner that enqueues `task`; raises `TypeError` if there is none."""
    for runner in all_runners():
        if runner.owns(task):
            return runner
    raise TypeError(
        f"{task!r} can't be enqueued: no runner here ({', '.join(r.name for r in all_runners())}) knows what it is. "
        "Decorate the function with @telltale.tracked, beneath its runner's own decorator if it has one."
    )


def known() -> dict[str, str]:
    """All runners by name, as "module:Class"; ours cannot be replaced by an entry point of the same name."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)} | _OURS


def _importable() -> list[Runner]:
    found: list[Runner] = []
    for name, path in known().items():
        if name in _APPS and not apps.is_installed(_APPS[name]):
            continue
        try:
            found.append(_load(path))
        except ImportError as error:
            if name in _OURS and not isinstance(error, ModuleNotFoundError):
                raise  # the library is there, but not as we know it: to be silent would only hide that
            if name not in _OURS:
                logger.warning("The runner %r (%s) can't be imported, so it is left out: %s", name, path, error)
    return _last(found)


def _named(name: str) -> Runner:
    path = known().get(name) or (":".join(name.rsplit(".", 1)) if "." in name else None)
    if path is None:
        raise ImproperlyConfigured(
            f"TELLTALE['RUNNERS'] names {name!r}, which nobody here is called. "
            f"Use one of {', '.join(sorted(known()))}, or the dotted path of a class."
        )
    try:
        return _load(path)
    except (ImportError, AttributeError) as error:
        mend = f'pip install "django-telltale[{_EXTRAS[name]}]"' if name in _EXTRAS else "Check the path"
        raise ImproperlyConfigured(
            f"TELLTALE['RUNNERS'] names {name!r}, which can't be imported ({error}). {mend}, or take it out."
        ) from error


def _load(path: str) -> Runner:
    module, _, attribute = path.partition(":")
    runner: Runner = getattr(import_module(module), attribute)()
    return runner


def _last(runners: Iterable[Runner]) -> list[Runner]:
    """The thread runner goes last: it owns every tracked function that is no other runner's task."""
    return sorted(runners, key=lambda runner: runner.name == "thread")


def _forget(*, setting: str, **_: object) -> None:
    if setting == "TELLTALE":
        all_runners.cache_clear()


setting_changed.connect(_forget, dispatch_uid="telltale.runners")
