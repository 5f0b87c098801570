"""The user model whose primary key is of the kind that the settings name."""

import uuid
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models

KEYS: Final[dict[str, Any]] = {
    "integer": lambda: models.AutoField(primary_key=True),
    "big integer": lambda: models.BigIntegerField(primary_key=True),
    "uuid": lambda: models.UUIDField(primary_key=True, default=uuid.uuid4),
    "text": lambda: models.CharField(primary_key=True, max_length=255),
    "email": lambda: models.EmailField(primary_key=True),
}


class User(AbstractUser):
    id = KEYS[settings.KEY_KIND]()

    class Meta:
        app_label = "accounts"
