"""The registry of runners: one instance of each in every process.

The known runners are those that come with Telltale and those that other packages announce under the entry point
group `telltale.runners`. Without `TELLTALE["RUNNERS"]`, all that can be imported are installed. With it, exactly
those that it names (by name or dotted path) are installed, and a missing library is an error.
"""

import logging
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from telltale import conf
from telltale.dispatch.runner import Runner, options_of

logger = logging.getLogger(__name__)

ENTRY_POINTS: Final = "telltale.runners"

# Listed here rather than as entry points, so that a checkout that was never installed knows them too.
BUILT_IN: Final = {
    "celery": "telltale.runners.celery:CeleryRunner",
    "channels": "telltale.channels.runner.runner:ChannelsRunner",
    "django_q": "telltale.runners.django_q:DjangoQRunner",
    "django_tasks": "telltale.runners.django_tasks:DjangoTasksRunner",
    "dramatiq": "telltale.runners.dramatiq:DramatiqRunner",
    "huey": "telltale.runners.huey:HueyRunner",
    "procrastinate": "telltale.runners.procrastinate:ProcrastinateRunner",
    "rq": "telltale.runners.rq:RQRunner",
    "thread": "telltale.runners.threads:ThreadRunner",
}
# These runners use tables of their own, so they are available only with their Django app.
_APPS: Final = {"django_q": "django_q", "procrastinate": "procrastinate.contrib.django"}
_EXTRAS: Final = {name: name for name in BUILT_IN if name != "thread"} | {"django_tasks": "tasks", "django_q": "q2"}


def install() -> None:
    """Connect each runner to its signals. Called once, when Django's apps are ready.

    A wrong `TELLTALE["RUNNERS"]` is logged, and raised by whatever needs a runner. It is not raised here: then
    `manage.py check` could not report it.
    """
    problem = why_no_runners()
    if problem is not None:
        logger.error("No runner is installed: %s", problem)
        return
    for runner in all_runners():
        runner.install()


def why_no_runners() -> str | None:
    """Why the runners can't be loaded, with the fix; None if they can."""
    try:
        all_runners()
    except (ImproperlyConfigured, ImportError) as error:
        return str(error)
    return None


@cache
def all_runners() -> tuple[Runner, ...]:
    """The runners of this process. The thread runner is last: it owns every tracked function that no other owns."""
    names = conf.settings().runners
    runners = _load_importable() if names is None else [_load_named(name) for name in names]
    return tuple(sorted(runners, key=lambda runner: runner.name == "thread"))


def by_name(name: str) -> Runner | None:
    """The runner of that name (`TaskState.runner`); None if it is not installed."""
    return next((runner for runner in all_runners() if runner.name == name), None)


def runner_of(task: object) -> Runner:
    """The runner that enqueues `task`. Raises `TypeError` if there is none, `ImproperlyConfigured` if it is missing."""
    for runner in all_runners():
        if runner.owns(task):
            return runner
    options = options_of(task)
    if options is not None and options.runner is not None and by_name(options.runner) is None:
        raise ImproperlyConfigured(
            f"{task!r} has runner={options.runner!r}, which is not available. {_how_to_add(options.runner)}"
        )
    raise TypeError(
        f"{task!r} can't be enqueued: none of the runners ({', '.join(r.name for r in all_runners())}) knows it. "
        "Decorate the function with @telltale.tracked, beneath its runner's own decorator if it has one."
    )


def known() -> dict[str, str]:
    """All known runners by name, as "module:Class". An entry point cannot replace a built-in runner."""
    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)} | BUILT_IN


def _how_to_add(name: str) -> str:
    if name not in known():
        return f"Use one of {', '.join(sorted(known()))}."
    steps = [f'pip install "django-telltale[{_EXTRAS[name]}]"'] if name in _EXTRAS else []
    if name in _APPS:
        steps.append(f"add {_APPS[name]!r} to INSTALLED_APPS")
    if name not in (conf.settings().runners or [name]):
        steps.append(f"add {name!r} to TELLTALE['RUNNERS']")
    return f"To use it: {', '.join(steps) or 'install the package that announces it'}."


def _load_importable() -> list[Runner]:
    runners: list[Runner] = []
    for name, path in known().items():
        if name in _APPS and not apps.is_installed(_APPS[name]):
            continue
        try:
            runners.append(_load(path))
        except ImportError as error:
            if name in BUILT_IN and not isinstance(error, ModuleNotFoundError):
                raise  # The library is installed, but in a version that Telltale does not support.
            if name not in BUILT_IN:
                logger.warning("The runner %r (%s) is not used, because it can't be imported: %s", name, path, error)
    return runners


def _load_named(name: str) -> Runner:
    path = known().get(name) or (":".join(name.rsplit(".", 1)) if "." in name else None)
    if path is None:
        raise ImproperlyConfigured(
            f"TELLTALE['RUNNERS'] names {name!r}, but there is no runner of that name. "
            f"Use one of {', '.join(sorted(known()))}, or the dotted path of a class."
        )
    try:
        return _load(path)
    except (ImportError, AttributeError) as error:
        mend = f'pip install "django-telltale[{_EXTRAS[name]}]"' if name in _EXTRAS else "Check the path"
        raise ImproperlyConfigured(
            f"TELLTALE['RUNNERS'] names {name!r}, which can't be imported ({error}). {mend}, or remove the name."
        ) from error


def _load(path: str) -> Runner:
    module, _, attribute = path.partition(":")
    runner: Runner = getattr(import_module(module), attribute)()
    return runner


def _reload(*, setting: str, **_: object) -> None:
    if setting == "TELLTALE":
        all_runners.cache_clear()


setting_changed.connect(_reload, dispatch_uid="telltale.runners")
