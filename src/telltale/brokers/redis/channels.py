"""The Redis channels of topics, and the packed commands that name them. No I/O here.

A cluster assigns a channel to a shard by the text between braces in its name. Topics are put into `BUCKETS`
groups with a common text, since one command may only name channels of one shard: so thousands of topics are
followed by a few hundred commands at most.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple, cast

import hiredis

from telltale.brokers.base import Message

BUCKETS: Final = 256
"""The number of buckets in a cluster: enough to spread over its servers, few enough to subscribe quickly."""

COMMAND_CHANNELS: Final = 1_000
"""The most channels in one command: the server answers no other client while it works on one."""

# The cast: hiredis' stub only knows tuples of one element.
pack: Final = cast("Callable[[tuple[str | bytes, ...]], bytes]", hiredis.pack_command)
"""Pack a command in Redis' protocol."""


class Command(NamedTuple):
    """A packed command, for the server that has this bucket."""

    bucket: int
    packed: bytes


ROLE: Final = Command(-1, pack(("ROLE",)))
"""Asks a server whether it is a replica; it belongs to no bucket."""


class Channels:
    """The channel names of one site. `buckets` is 1 where one server has all channels."""

    def __init__(self, prefix: str, buckets: int) -> None:
        self.buckets = buckets
        sharded = buckets > 1
        self._publish = "SPUBLISH" if sharded else "PUBLISH"
        self._subscribe = "SSUBSCRIBE" if sharded else "SUBSCRIBE"
        self._unsubscribe = "SUNSUBSCRIBE" if sharded else "UNSUBSCRIBE"
        self.message_kind = b"smessage" if sharded else b"message"
        """The first element of a reply that is a message."""
        self.unsubscribed_kind = b"sunsubscribe" if sharded else b"unsubscribe"
        """The first element of a reply that says that a channel is unsubscribed."""
        self.prefixes = [f"{prefix}{{{n}}}".encode() for n in range(buckets)] if sharded else [prefix.encode()]
        """The prefix of channel names for each bucket; it decides on the shard."""
        self.publish_check = (self._publish, f"{prefix}publishing", "")
        """A command that fails unless publishing is allowed; no process subscribes to its channel."""
        # Without a subscription, Redis answers in another format: so one channel stays subscribed for good.
        self.listen_check = ("PING",) if sharded else (self._subscribe, f"{prefix}listening")
        """A command that fails unless listening is allowed."""

    def bucket(self, topic: str) -> int:
        """The bucket of a topic."""
        return zlib.crc32(topic.encode()) % self.buckets if self.buckets > 1 else 0

    def topic(self, channel: bytes) -> str:
        """The topic of one of this site's channels."""
        _, brace, after_brace = channel.partition(b"}")
        return (after_brace if brace else channel.removeprefix(self.prefixes[0])).decode()

    def publish_commands(self, messages: Iterable[Message]) -> list[Command]:
        """One command for each topic of each message."""
        publish, prefixes = self._publish, self.prefixes
        if self.buckets == 1:
            prefix = prefixes[0]
            return [
                Command(0, pack((publish, prefix + topic.encode(), message.body)))
                for message in messages
                for topic in message.topics
            ]
        return [
            Command(bucket, pack((publish, prefixes[bucket] + topic.encode(), message.body)))
            for message in messages
            for topic in message.topics
            for bucket in (self.bucket(topic),)
        ]

    def subscribe_commands(self, topics: Collection[str]) -> list[Command]:
        """A few commands that subscribe to all `topics`."""
        return self._commands(self._subscribe, topics)

    def unsubscribe_commands(self, topics: Collection[str]) -> list[Command]:
        """A few commands that unsubscribe from all `topics`."""
        return self._commands(self._unsubscribe, topics)

    def _commands(self, command: str, topics: Collection[str]) -> list[Command]:
        by_bucket: defaultdict[int, list[bytes]] = defaultdict(list)
        for topic in topics:
            bucket = self.bucket(topic)
            by_bucket[bucket].append(self.prefixes[bucket] + topic.encode())
        return [
            Command(bucket, pack((command, *chunk)))
            for bucket, channels in by_bucket.items()
            for chunk in _chunks(channels)
        ]


def ping(token: bytes) -> bytes:
    """A packed PING, which Redis answers with `token` once it has done all earlier commands."""
    return pack(("PING", token))


def _chunks(channels: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (channels[start : start + COMMAND_CHANNELS] for start in range(0, len(channels), COMMAND_CHANNELS))
