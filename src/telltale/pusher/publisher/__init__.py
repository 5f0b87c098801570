"""Publishing through the hosted service or a compatible server: the broker `pusher://…`.

`broker.py` receives Telltale's messages, `pending.py` is the queue, and `sender.py` sends in a thread by way of
`service.py`. `channels.py` and `events.py` define the channels and events that pages receive.
"""

from telltale.pusher.publisher.exclusion import excluding

__all__ = ["excluding"]
