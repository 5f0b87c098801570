"""A decorator that stands above `tracked` and never calls the task, such as that of a lock that is held."""

from collections.abc import Callable
from functools import wraps
from typing import Any


def refuse(task: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(task)
    def refused(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("The lock is held.")

    return refused
