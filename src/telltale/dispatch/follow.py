"""`telltale.follow`: show tasks that can't be edited, such as another package's, by their names.

The names come from the setting `FOLLOW` (patterns, each with a label or None), or from `follow` in code that every
process runs, such as an `AppConfig.ready`. Only Celery's tasks have names that can be matched so far.
"""

from fnmatch import fnmatchcase

from telltale import conf
from telltale.dispatch.runner import TaskOptions
from telltale.dispatch.tracked import label_from_name

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
            options = TaskOptions(label=label or label_from_name(name.rpartition(".")[2]))
            return _options.setdefault((name, str(label)), options)
    return None
