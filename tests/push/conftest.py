"""A push service, and a site that uses it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.push.service import PRIVATE_KEY, PushService, running_service


@pytest.fixture
def service(settings: Any) -> Iterator[PushService]:
    with running_service() as service:
        push = {
            "VAPID_PRIVATE_KEY": PRIVATE_KEY,
            "VAPID_SUBJECT": "mailto:ada@example.com",
            "AFTER_S": 3_600,  # No thread pushes during a test.
            "SERVICES": [service.url],
        }
        settings.TELLTALE = {**settings.TELLTALE, "BROKER": "memory://", "PUSH": push}
        yield service
