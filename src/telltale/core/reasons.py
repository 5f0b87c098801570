"""The reasons for closing or refusing a connection.

A client decides by `again`, never by the text. Codes are WebSocket close codes; SSE and polling carry the same codes
in their `bye` message. `docs/protocol.md` and the JS client are tested against this list.
"""

from dataclasses import dataclass
from enum import StrEnum


class Again(StrEnum):
    """When a client that was closed or refused should come back."""

    AT_ONCE = "at once"
    LATER = "later"  # with back-off and jitter
    NEVER = "never"  # until a person does something


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a connection ends."""

    code: int
    word: str
    again: Again
    meaning: str


DRAIN = Reason(code=4000, word="drain", again=Again.LATER, meaning="This server is going away.")
SLOW = Reason(code=4001, word="slow", again=Again.LATER, meaning="The client did not keep up.")
RESYNC = Reason(code=4002, word="resync", again=Again.AT_ONCE, meaning="Too much is waiting; start afresh.")
SILENT = Reason(code=4003, word="silent", again=Again.LATER, meaning="Nothing was heard from the client.")
RATE = Reason(code=4008, word="rate", again=Again.LATER, meaning="The client sent too much.")
MALFORMED = Reason(code=4400, word="malformed", again=Again.NEVER, meaning="A message could not be understood.")
NO_TICKET = Reason(
    code=4401, word="no ticket", again=Again.NEVER, meaning="The ticket is missing, malformed or not the server's."
)
EXPIRED = Reason(code=4402, word="expired", again=Again.AT_ONCE, meaning="The ticket has run out; fetch a new one.")
FORBIDDEN = Reason(code=4403, word="forbidden", again=Again.NEVER, meaning="The ticket does not cover this topic.")
VERSION = Reason(code=4409, word="version", again=Again.NEVER, meaning="The client speaks another protocol version.")
LIMIT = Reason(code=4429, word="limit", again=Again.LATER, meaning="Too many connections.")

REASONS = (DRAIN, SLOW, RESYNC, SILENT, RATE, MALFORMED, NO_TICKET, EXPIRED, FORBIDDEN, VERSION, LIMIT)
