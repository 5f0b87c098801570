"""The codes with which a connection is closed, or a message is refused on one that stays open.

The range decides what a client does: 4000–4099 never reconnect, 4100–4199 reconnect later, 4200–4299 at once.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """A code of the protocol. `text` is shown to developers, at most 123 bytes of UTF-8."""

    number: int
    text: str


TLS_ONLY: Final = Code(4000, "This app accepts only TLS connections: use wss://.")
UNKNOWN_APP: Final = Code(4001, "No app has this key: check the key and the server's list of apps.")
APP_DISABLED: Final = Code(4003, "This app is disabled.")
OVER_QUOTA: Final = Code(4004, "This app has as many connections as its limit allows.")
UNKNOWN_PATH: Final = Code(4005, "There is nothing at this path: connect to /app/KEY.")
INVALID_VERSION: Final = Code(4006, "The protocol's version is not a number: use protocol=7.")
UNSUPPORTED_VERSION: Final = Code(4007, "This version of the protocol is not supported: use protocol=7.")
NO_VERSION: Final = Code(4008, "The protocol's version is missing: add ?protocol=7 to the address.")
UNAUTHORISED: Final = Code(4009, "The connection is not authorised.")
TERMINATED: Final = Code(4009, "The user's connections were terminated by the site.")
OVER_CAPACITY: Final = Code(4100, "This server has too many connections: reconnect later.")
RESTARTING_LATER: Final = Code(4101, "This server is going away: reconnect after a second.")
TOO_MANY_MESSAGES: Final = Code(4102, "The client sent too many messages in a short time.")
RECONNECT: Final = Code(4200, "Reconnect at once.")
NO_PONG: Final = Code(4201, "The client did not answer a ping in time.")
INACTIVE: Final = Code(4202, "The connection was not used for 24 hours.")
TOO_SLOW: Final = Code(4203, "The client did not read fast enough: what it missed is not sent again.")
CLIENT_EVENT_REFUSED: Final = Code(4301, "The client event was refused.")
WATCHLIST_TOO_LONG: Final = Code(4302, "The watchlist is too long: only its first entries are watched.")
