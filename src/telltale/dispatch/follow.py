"""Tasks that can't be edited, such as another package's: followed by their names instead of by a decorator.

By the setting `FOLLOW` (patterns, each with its label or None), or by `follow` in code that every process
runs, such as an `AppConfig.ready`. So far Celery's tasks have names of their own by which this can be done.
"""

from fnmatch import fnmatchcase

from telltale import conf
from telltale.dispatch.runner import TaskOptions

_patterns: dict[str, object] = {}
_marks: dict[tuple[str, object], TaskOptions] = {}


def follow(pattern: str, *, label: object = None) -> None:
    """Show the runs of all tasks whose names match, such as "newsletter.tasks.*"; what is tracked anyway stays so.

    `label`: what people read of each; from its name if there is none. The earliest pattern that matches counts.
    """
    _patterns.setdefault(pattern, label)


def options_by_name(name: str) -> TaskOptions | None:
    """The options of a task that is followed; always the same one. None if nobody follows it."""
    from telltale.dispatch.tracked import label_from_name

    for pattern, label in {**conf.settings().follow, **_patterns}.items():
        if fnmatchcase(name, pattern):
            words = label or label_from_name(name.rpartition(".")[2])
            return _marks.setdefault((name, str(label)), TaskOptions(label=words))
    return None
