"""A project's function for `PUSHER_APPS` that blocks until a test lets it go on."""

import os
import time
from pathlib import Path
from typing import Any

from tests.pusher.clients.apps import MAIN

VARIABLE = "TELLTALE_TEST_APPS_ARE_READY"


def apps() -> list[dict[str, Any]]:
    """Return the apps once the file that the environment names exists."""
    while not Path(os.environ[VARIABLE]).exists():
        time.sleep(0.01)
    return [MAIN.setting()]
