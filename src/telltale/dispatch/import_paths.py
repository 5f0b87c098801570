"""Dotted names of functions: how runners that import their tasks store a task's name and find the task again.

Used by the runners' own files. Knows no runner.
"""

from collections.abc import Callable
from typing import Any

from django.utils.module_loading import import_string


def dotted_name(function: Any) -> str:
    """The name by which `import_or_none` finds the function: its module and its qualified name."""
    return f"{function.__module__}.{function.__qualname__}"


def import_or_none(name: str) -> object | None:
    """The object of that dotted name; None if it can't be imported, or does not stand at a module's top level."""
    try:
        found: object = import_string(name)
    except (ImportError, ValueError):  # ValueError: the module's name is empty
        return None
    return found


def find_task(name: str, owns: Callable[[object], bool]) -> object | None:
    """The task of that dotted name; None if it can't be imported, or `owns` says that it is another runner's."""
    task = import_or_none(name)
    return task if owns(task) else None


class FunctionRunner:
    """The base of runners whose tasks are plain functions, known by their dotted names."""

    def owns(self, task: object) -> bool:
        """Whether this runner enqueues `task`."""
        raise NotImplementedError("Implement `owns`.")

    def name_of(self, task: Any) -> str:
        """The dotted name of the function."""
        return dotted_name(task)

    def function_of(self, task: object) -> object:
        """The function itself."""
        return task

    def find(self, name: str) -> object | None:
        """The function of that dotted name; None if it can't be imported, or is another runner's."""
        return find_task(name, self.owns)
