"""The messages from the server to a client, as text: `docs/protocol.md` documents them.

Numbers (`n`) are of frames, instants (`now`, `expires_at`) are seconds since 1970 by the store's clock.
"""

from collections.abc import Iterable
from typing import Final

from telltale.core.health import Limits
from telltale.core.policy import Grant
from telltale.core.reasons import Reason
from telltale.core.wire import Envelope, Kind, encode

VERSION: Final = 1
"""Of the protocol between server and client."""


def hello(n: int, now: float, *, grant: Grant, limits: Limits, credit: int | None) -> str:
    """The greeting: what the client follows until when, and after how much text it acknowledges."""
    return encode(
        {
            "type": "hello",
            "v": VERSION,
            "n": n,
            "now": round(now, 3),
            "topics": sorted(grant.topics),
            "expires_at": grant.expires_at,
            "limits": limits.to_json(),
            **({} if credit is None else {"ack_every": credit // 4}),
        }
    )


def update(
    n: int,
    now: float,
    *,
    tasks: Iterable[str] = (),
    notices: Iterable[str] = (),
    events: Iterable[str] = (),
    corrected: Iterable[str] = (),
) -> str:
    """The news, of texts that are encoded already. `corrected`: ids of tasks whose snapshots replace any other."""
    text = _update(n, now, ",".join(tasks), ",".join(notices), ",".join(events))
    ids = list(corrected)
    return f'{text[:-1]},"corrected":{encode(ids)}}}' if ids else text


def update_of(envelope: Envelope, n: int, now: float) -> str:
    """The news of one snapshot or event; every envelope that is delivered passes here, so nothing is joined."""
    if envelope.kind is Kind.EVENT:
        return _update(n, now, "", "", envelope.text)
    return _update(n, now, envelope.text, "", "")


def _update(n: int, now: float, tasks: str, notices: str, events: str) -> str:
    """The arguments are items of JSON lists, without the brackets."""
    return f'{{"type":"update","n":{n},"now":{now:.3f},"tasks":[{tasks}],"notices":[{notices}],"events":[{events}]}}'


def ping(now: float, *, n: int | None = None) -> str:
    """A sign of life; with a number it is a question, which the client acknowledges at once."""
    return f'{{"type":"ping","now":{now:.3f}}}' if n is None else f'{{"type":"ping","n":{n},"now":{now:.3f}}}'


def bye(reason: Reason, *, within_s: float | None = None) -> str:
    """The last message. `within_s`: where many clients are closed at once, the time over which they return."""
    hint = {} if within_s is None else {"within_s": within_s}
    return encode({"type": "bye", "code": reason.code, "reason": reason.word, "again": reason.again, **hint})
