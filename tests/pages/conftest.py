"""What the tests of pages share: a visitor, and their browser."""

from typing import Any

import pytest
from django.test import Client

from tests.factories import person


@pytest.fixture
def ada() -> Any:
    return person("ada")


@pytest.fixture
def signed_in(ada: Any) -> Client:
    client = Client()
    client.force_login(ada)
    return client
