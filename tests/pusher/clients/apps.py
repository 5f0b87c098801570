"""The apps of the server under test: one for each set of options."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, kw_only=True)
class App:
    """`options`: further keys, as in the settings."""

    id: str
    key: str
    secret: str = field(repr=False)
    options: dict[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def number(cls, number: int, **options: Any) -> "App":
        return cls(id=str(number), key=f"key-{number}", secret=f"secret-{number}", options=options)

    def setting(self, webhooks: Sequence[str] = ()) -> dict[str, Any]:
        """Return the app as an entry of the settings."""
        options = {**self.options, **({"WEBHOOKS": list(webhooks)} if webhooks else {})}
        return {"ID": self.id, "KEY": self.key, "SECRET": self.secret, **options}


MAIN: Final = App.number(1)
OTHER: Final = App.number(2)
COUNTING: Final = App.number(3, SUBSCRIPTION_COUNTS=True)
MUTE: Final = App.number(4, CLIENT_EVENTS=False)
DISABLED: Final = App.number(5, IS_ENABLED=False)
TLS_ONLY: Final = App.number(6, TLS_ONLY=True)
SMALL: Final = App.number(7, LIMITS={"CONNECTIONS": 2, "EVENT_BYTES": 100})
SHORT: Final = App.number(8, ACTIVITY_TIMEOUT_S=1)
HOOKED: Final = App.number(9, SUBSCRIPTION_COUNTS=True)
FLAKY: Final = App.number(10)
UNWATCHED: Final = App.number(11, WATCHLISTS=False)
GENEROUS: Final = App.number(12, LIMITS={"EVENT_BYTES": 50_000})

APPS: Final = [MAIN, OTHER, COUNTING, MUTE, DISABLED, TLS_ONLY, SMALL, SHORT, HOOKED, FLAKY, UNWATCHED, GENEROUS]
