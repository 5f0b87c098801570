"""`telltale.follow`: show tasks that can't be edited, such as another package's, by their names.

The names come from the setting `FOLLOW` (patterns, each with a label or None), or from `follow` in code that every
process runs, such as an `AppConfig.ready`. Runners with the ability `FOLLOWS` look up the options of their tasks here,
and wrap what runs a task that is followed (`shown`).
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from telltale import conf
from telltale.dispatch.runner import TaskOptions, options_of
from telltale.dispatch.tracked import wrap

_labels: dict[str, object] = {}
"""The label of each pattern, as given to `follow`."""

_options: dict[tuple[str, str], TaskOptions] = {}
"""The options by task name and label, because options are compared by identity."""


def follow(pattern: str, *, label: object = None) -> None:
    """Show the runs of all tasks whose names match `pattern`, such as "newsletter.tasks.*".

    `label`: the tasks' name for people; by default made from each task's name. If several patterns match, the first
    counts. A task with `@telltale.tracked` keeps its own options.
    """
    _labels.setdefault(pattern, label)


def options_by_name(name: str) -> TaskOptions | None:
    """The options of a followed task, the same object on every call; None if no pattern matches `name`."""
    for pattern, label in {**conf.settings().follow, **_labels}.items():
        if fnmatchcase(name, pattern):
            return _options.setdefault((name, str(label)), TaskOptions(label=label))
    return None


def options_of_task(function: object, name: str) -> TaskOptions | None:
    """The options of the task's function, or those of its name if it is followed; None if it is not shown."""
    return options_of(function) or options_by_name(name)


def shown(run: Callable[..., Any], function: object, name: str) -> Callable[..., Any]:
    """`run`, which runs the task of that function and name; with a wrapper that shows it if the task is followed."""
    options = None if options_of(function) is not None else options_by_name(name)
    return run if options is None else wrap(run, options)
