"""Patch functions of libraries that send no signals. Used by the runners' own files. Knows no runner."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

_PATCHED: Final = "__telltale_patched__"
"""The attribute that tells a patched function from the library's own."""


def patch(owner: object, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace the function `owner.name` by one that returns `wrapper(original, *args, **kwargs)`.

    `owner`: a module, an instance, or a class; a class's `args` begin with `self`. Harmless when repeated.
    """
    original = getattr(owner, name)
    if hasattr(original, _PATCHED):
        return

    @wraps(original)
    def patched(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    setattr(patched, _PATCHED, True)
    setattr(owner, name, patched)
