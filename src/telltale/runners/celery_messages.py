"""Whether Celery still has a task's message. Only the queues of Redis can be read; those of RabbitMQ and SQS can't.

On Redis, Kombu keeps a list for each queue and priority, and a hash of the messages that workers have taken and not
acknowledged. A message of a worker that was killed stays there until the visibility timeout, an hour by default.
`apply_async(queue=…)` may name any queue, so all queues that Kombu has bound are searched.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final

from celery import current_app

from telltale.dispatch.waiting_ids import MAX_MESSAGES, READ_TOGETHER, WaitingIds, read_ids, waiting_ids

MAX_KEYS: Final = 100_000
"""How many of the database's keys are searched for bindings of queues."""

MAX_QUEUES: Final = 100
"""How many queues are searched."""


def has_message(runner_id: str) -> bool | None:
    """Whether a queue has the message; None if unknown, such as after a worker has taken it."""
    return waiting_ids("celery", _search).has(runner_id)


def _search() -> WaitingIds:
    with current_app.connection_for_read() as connection, connection.channel() as channel:
        kind = (type(channel).__module__, type(channel).__name__)
        if kind not in (("kombu.transport.redis", "Channel"), ("kombu.transport.redis", "SentinelChannel")):
            return WaitingIds(is_complete=False)
        return _search_redis(channel)


def _search_redis(channel: Any) -> WaitingIds:
    from redis import Redis

    # Kombu's own client adds the prefix of keys to the commands that Kombu uses, which are not these.
    client, prefix = Redis(connection_pool=channel.pool), channel.global_keyprefix
    queues, has_all_queues = _queues(client, channel)
    keys = [prefix + channel._q_for_pri(queue, priority) for queue in queues for priority in channel.priority_steps]
    # In this order: a worker moves messages from a queue to the hash.
    queued = read_ids(chain.from_iterable(map(partial(_items, client), keys)), _id_of_queued)
    taken = read_ids(
        (message for _tag, message in client.hscan_iter(prefix + channel.unacked_key, count=READ_TOGETHER)),
        lambda message: _id_of_message(json.loads(message)[0]),
    )
    is_complete = has_all_queues and queued.is_complete and taken.is_complete
    return WaitingIds(ids=queued.ids, taken_ids=taken.ids, is_complete=is_complete)


def _queues(client: Any, channel: Any) -> tuple[Sequence[str], bool]:
    """The queues that this process knows or Kombu has bound, and whether these are all."""
    names = set(current_app.amqp.queues)
    pattern, cursor = channel.global_keyprefix + channel.keyprefix_queue % "*", 0
    for _ in range(MAX_KEYS // 10_000):
        cursor, keys = client.scan(cursor, match=pattern, count=10_000)
        for key in keys:
            # A member has the routing key, the pattern and the queue.
            names |= {member.decode().split(channel.sep)[-1] for member in client.smembers(key)}
        if cursor == 0 or len(names) > MAX_QUEUES:
            break
    return sorted(names)[:MAX_QUEUES], cursor == 0 and len(names) <= MAX_QUEUES


def _items(client: Any, key: str) -> Iterator[bytes]:
    """The messages of a list, newest first: what is pushed or taken meanwhile makes this skip none."""
    for start in range(0, MAX_MESSAGES + 1, READ_TOGETHER):
        items = client.lrange(key, start, start + READ_TOGETHER - 1)
        yield from items
        if len(items) < READ_TOGETHER:
            return


def _id_of_queued(message: bytes) -> str | None:
    return _id_of_message(json.loads(message))


def _id_of_message(message: Any) -> str | None:
    task_id = message["headers"].get("id")  # Workers' replies have none.
    return None if task_id is None else str(task_id)
