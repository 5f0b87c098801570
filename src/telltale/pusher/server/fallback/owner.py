"""Sessions of this process whose requests reach other ones: answers what those processes ask."""

from collections.abc import Callable

from telltale.pusher.protocol.api_refusal import ApiRefusal
from telltale.pusher.server.fallback import frames
from telltale.pusher.server.fallback.relay_messages import LAST, NO, YES, RelayMessage, Verb
from telltale.pusher.server.fallback.session import Batch, Session
from telltale.pusher.server.fallback.sessions import Sessions

Send = Callable[[str, str], None]
"""Sends a text to one process."""


class Owner:
    """The part that answers. Lives on one event loop."""

    def __init__(self, sessions: Sessions, send: Send) -> None:
        self._sessions, self._send = sessions, send
        self._takes: dict[tuple[str, int], RemoteTake] = {}

    def receive(self, process: str, message: RelayMessage) -> None:
        """Handle a question of another process."""
        session = self._sessions.find((message.key, message.session))
        if message.verb is Verb.FIND:
            self._answer(process, message, NO if session is None else YES)
        elif message.verb is Verb.SEND:
            self._answer(process, message, YES if session is not None and _send(session, message.text) else NO)
        elif message.verb is Verb.LEAVE:
            take = self._takes.pop((process, message.number), None)
            if take is not None:
                take.leave()
        elif session is None:
            self._answer(process, message, NO)
        else:
            self._take(process, message, session)

    def _take(self, process: str, message: RelayMessage, session: Session) -> None:
        def answer(batch: Batch) -> None:
            del self._takes[process, message.number]
            self._answer(process, message, LAST if batch.is_last else YES, batch.data.decode())

        take = self._takes[process, message.number] = RemoteTake(session, answer)
        take.begin()

    def _answer(self, process: str, question: RelayMessage, status: str, text: str = "") -> None:
        answer = RelayMessage(verb=Verb.ANSWER, number=question.number, target=process, status=status, text=text)
        self._send(process, answer.to_text())


class RemoteTake:
    """A request of another process that waits for one batch. Satisfies `Receiver`."""

    def __init__(self, session: Session, answer: Callable[[Batch], None]) -> None:
        self._session, self._answer = session, answer

    def begin(self) -> None:
        """Wait for the batch."""
        self._session.connect(self)
        self._session.take(self)

    def leave(self) -> None:
        """The request has ended."""
        self._session.disconnect(self)

    def receive(self, batch: Batch) -> None:
        """See `Receiver`."""
        self._session.disconnect(self)
        self._answer(batch)


def _send(session: Session, body: str) -> bool:
    if not session.client.is_open:
        return False
    try:
        session.send(frames.read_messages(body.encode()))
    except ApiRefusal:
        return False  # The process that passed the body on has checked it.
    return True
