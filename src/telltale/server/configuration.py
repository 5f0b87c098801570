"""uvicorn's configuration of our own server programs. Knows neither the live address nor other protocols."""

from typing import Any, Final

import uvicorn

from telltale.server.options import CannotServe

BACKLOG: Final = 4_096
"""Connections that the kernel queues while the process is busy: after a restart all clients return at once."""


def loaded_config(
    application: Any, *, drain_s: int, ssl_certfile: str | None, ssl_keyfile: str | None, **more: Any
) -> uvicorn.Config:
    """Return the configuration for an application with a lifespan, without an access log. Raises `CannotServe`."""
    config = uvicorn.Config(
        application,
        lifespan="on",
        backlog=BACKLOG,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=drain_s,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
        **more,
    )
    try:
        config.load()
    except OSError as error:  # The errors of `ssl` are among them.
        raise CannotServe(
            f"Can't use the certificate {ssl_certfile} (key: {ssl_keyfile or 'in the same file'}): "
            f"{error.strerror or error}. Give two PEM files that this user may read."
        ) from error
    return config
