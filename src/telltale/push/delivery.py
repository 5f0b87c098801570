"""Sends notices that no page has shown by web push, each to one browser of the person: the one that was used last.

The claim is that of pages and of mail (`store.unseen`): a notice is held, sent, and confirmed when the push service has
accepted it. So it is shown by one page, one browser or one mail. If no browser of the person can be reached, the notice
is given back: for pages, for the next try and at last for mail. If the process dies between the service's answer and
the confirmation, the message is sent again with the same id, and the browser shows it in the place of the first.
"""

import logging
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.translation import ngettext

from telltale import store
from telltale.core.policy import Bearer
from telltale.core.topics import USER_PREFIX, parse, unescape
from telltale.core.wire import Notice
from telltale.live import rights
from telltale.push.options import PushOptions, options
from telltale.push.sender import Outcome, PushMessage, send

logger = logging.getLogger(__name__)

MOST_SINGLE: Final = 3
"""A person with more new notices than this gets one message that says how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a call of `push_due` has done."""

    notices: int
    """How many notices push services have accepted."""
    failures: int
    """How many requests failed. Their notices wait, unless another browser got them."""


def push_due(*, among: Collection[str] | None = None) -> Pushed:
    """Send what is due; `among`: to the people of these topics only.

    Raises `ImportError` if web push is set but not installed, errors of the site's keys and of `VAPID_SUBJECT`, and the
    database's errors.
    """
    used = options()
    if used is None:
        return Pushed(notices=0, failures=0)
    deliveries = [Delivery(topic, used) for topic in store.push_topics(used.after_s, among=among)]
    for delivery in deliveries:
        delivery.deliver()
    return Pushed(
        notices=sum(delivery.accepted for delivery in deliveries),
        failures=sum(delivery.failures for delivery in deliveries),
    )


class Delivery:
    """The delivery of one person's notices."""

    def __init__(self, topic: str, used: PushOptions) -> None:
        self.accepted = self.failures = 0
        self._options = used
        self._topic = topic
        self._targets: list[store.PushTarget] = []

    def deliver(self) -> None:
        """Send the person's notices that are due."""
        self._targets = _with_rights(store.push_targets(self._topic))
        if not self._targets:
            return
        key = secrets.token_hex(16)
        since = min(target.created_at for target in self._targets)
        notices = store.hold_for_push(self._topic, key, self._options.after_s, since=since)
        try:
            for message, carried in _messages(notices):
                if self._send(message):
                    store.confirm_handed_over(carried)
                    self.accepted += len(carried)
        finally:
            # Those that were sent are confirmed, so this does not concern them.
            store.give_back(notices, key)

    def _send(self, message: PushMessage) -> bool:
        """Send to the first browser whose push service accepts the message."""
        while self._targets:
            target = self._targets[0]
            answer = send(target.subscription, message, self._options)
            if answer.outcome is Outcome.ACCEPTED:
                store.push_accepted(target)
                return True
            if answer.outcome is Outcome.GONE:
                store.delete_targets([target])
            else:
                pause_s = store.push_failed(target, retry_after_s=answer.retry_after_s)
                self.failures += 1
                origin = target.subscription.origin
                logger.warning("%s failed: %s. It is left alone for %.0f s.", origin, answer.reason, pause_s)
            del self._targets[0]
        return False


def _with_rights(targets: list[store.PushTarget]) -> list[store.PushTarget]:
    """Delete the browsers of users who have another password, are not active or are gone; return the others."""
    bearers = {target.id: _bearer(target) for target in targets if target.topic.startswith(USER_PREFIX)}
    ended = rights.ended(set(bearers.values())) if bearers else set()
    refused = [target for target in targets if bearers.get(target.id) in ended]
    if refused:
        store.delete_targets(refused)
    return [target for target in targets if target not in refused]


def _bearer(target: store.PushTarget) -> Bearer:
    return Bearer(user=unescape(parse(target.topic)[1]), is_active=True, auth=target.auth)


def _messages(notices: Sequence[Notice]) -> list[tuple[PushMessage, list[Notice]]]:
    """Return the messages for these notices, oldest first, each with the notices that it carries."""
    if len(notices) <= MOST_SINGLE:
        return [(PushMessage.of(notice), [notice]) for notice in notices]
    text = ngettext("%(n)s new message", "%(n)s new messages", len(notices)) % {"n": len(notices)}
    # Without a link: a click opens the list of messages.
    return [(PushMessage(id=notices[-1].id, text=text, url=None), list(notices))]
