"""Topics as Redis' channels, and the commands that name them, packed: a pure table of names.

A cluster shards channels by what stands between braces. Topics are put into `BUCKETS` such groups, so that
thousands are followed by a few hundred commands at most: one command may only name channels of one shard.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, NamedTuple, cast

import hiredis

from telltale.brokers.base import Message

BUCKETS: Final = 256
"""Of a cluster: enough to spread over its servers, few enough for quick following."""

AT_ONCE: Final = 1_000
"""Channels in one command: the server answers nobody else while it works on one."""

# Its stub knows of tuples of one only.
pack: Final = cast("Callable[[tuple[str | bytes, ...]], bytes]", hiredis.pack_command)
"""A command as Redis reads it."""


class Command(NamedTuple):
    """What is sent, and to the server that has which bucket."""

    bucket: int
    packed: bytes


class Channels:
    """The names of one site. `buckets` is 1 where a server has all channels."""

    def __init__(self, prefix: str, buckets: int) -> None:
        self.buckets = buckets
        sharded = buckets > 1
        self._publish = "SPUBLISH" if sharded else "PUBLISH"
        self._follow = "SSUBSCRIBE" if sharded else "SUBSCRIBE"
        self._forget = "SUNSUBSCRIBE" if sharded else "UNSUBSCRIBE"
        self.message = b"smessage" if sharded else b"message"
        """What arrives begins so."""
        self.left = b"sunsubscribe" if sharded else b"unsubscribe"
        """And so the word that a channel is heard no more."""
        self.prefixes = [f"{prefix}{{{n}}}".encode() for n in range(buckets)] if sharded else [prefix.encode()]
        """Of each bucket: it decides on the shard."""
        self.hello_publishing = (self._publish, f"{prefix}publishing", "")
        """Answered by an error if publishing isn't allowed; nobody hears it."""
        # Subscribed once and for all: a client that hears no channel would be answered in another form.
        self.hello_listening = ("PING",) if sharded else (self._follow, f"{prefix}listening")

    def bucket(self, topic: str) -> int:
        """In which group the topic is."""
        return zlib.crc32(topic.encode()) % self.buckets if self.buckets > 1 else 0

    def topic(self, channel: bytes) -> str:
        """Of one of our channels."""
        _, brace, behind = channel.partition(b"}")
        return (behind if brace else channel.removeprefix(self.prefixes[0])).decode()

    def publishing(self, messages: Iterable[Message]) -> list[Command]:
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

    def following(self, topics: Collection[str]) -> list[Command]:
        """Few commands that subscribe to all of these."""
        return self._naming(self._follow, topics)

    def forgetting(self, topics: Collection[str]) -> list[Command]:
        """Few commands that end it."""
        return self._naming(self._forget, topics)

    def _naming(self, command: str, topics: Collection[str]) -> list[Command]:
        by_bucket: defaultdict[int, list[bytes]] = defaultdict(list)
        for topic in topics:
            bucket = self.bucket(topic)
            by_bucket[bucket].append(self.prefixes[bucket] + topic.encode())
        return [
            Command(bucket, pack((command, *some)))
            for bucket, channels in by_bucket.items()
            for some in _chunks(channels)
        ]


def ping(fence: bytes) -> bytes:
    """The command that is answered with `fence`, once all before it has been done."""
    return pack(("PING", fence))


def _chunks(channels: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (channels[at : at + AT_ONCE] for at in range(0, len(channels), AT_ONCE))
