"""The paths of the stand-in's addresses: below a prefix, and below uvicorn's `root_path`, which some servers keep."""

import re
from typing import Final
from urllib.parse import unquote

_CLIENTS: Final = re.compile(r"/app/([^/]+)/?")


def with_slash(prefix: str) -> str:
    """Return a prefix in its one form: empty, or with a slash before it and none after it."""
    return prefix.strip("/") and f"/{prefix.strip('/')}"


def inner_path(path: str, root_path: str, prefix: str) -> str | None:
    """Return the path without the prefix; None if it has another. Some servers put `root_path` before it."""
    root = root_path.rstrip("/")
    if root and path.startswith(f"{root}/"):
        path = path.removeprefix(root)
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else None


def app_key(path: str) -> str | None:
    """Return the app's key in an inner path for WebSockets of clients; None if it is another path."""
    match = _CLIENTS.fullmatch(path)
    return None if match is None else match[1]


def app_key_of_target(path: str, root_path: str, prefix: str) -> str | None:
    """As `app_key`, for the path of a request as it came, with percent-encoded characters."""
    inner = inner_path(unquote(path), root_path, prefix)
    return None if inner is None else app_key(inner)
