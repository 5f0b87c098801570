"""What processes tell each other about sessions, as text. Pure."""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from telltale.pusher.server.membership.entries import READ_ERRORS, MalformedReport, encode


class Verb(StrEnum):
    """What a message asks of the process that has the session; `ANSWER` goes back."""

    FIND = "find"
    """Answer with `YES` or `NO`, whether it has the session."""
    SEND = "send"
    """Handle the body of a request that sends; answer with `YES` or `NO`, whether the session is open."""
    TAKE = "take"
    """Answer with the next batch: `YES`, or `LAST`; `NO` if the session is unknown."""
    LEAVE = "leave"
    """The client of the request that takes has disconnected; no answer."""
    ANSWER = "answer"


YES, NO, LAST = "yes", "no", "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayMessage:
    """One message."""

    verb: Verb
    number: int
    """Of the question, in the process that asks."""
    target: str | None = None
    """The process it is for; None: all others."""
    key: str = ""
    session: str = ""
    status: str = ""
    text: str = ""
    """The body of a request, or frames."""

    def to_text(self) -> str:
        """Return a line of JSON, then the text."""
        return f"{encode([self.verb, self.number, self.target, self.key, self.session, self.status])}\n{self.text}"

    @classmethod
    def from_text(cls, content: str) -> Self:
        """Reverse `to_text`; raises `MalformedReport`."""
        head, _, text = content.partition("\n")
        try:
            verb, number, target, key, session, status = json.loads(head)
            return cls(
                verb=Verb(verb), number=number, target=target, key=key, session=session, status=status, text=text
            )
        except READ_ERRORS as error:
            raise MalformedReport(f"A message about a session begins with {head:.80}.") from error
