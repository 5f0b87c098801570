"""Publishing through the hosted service or a compatible server: the broker `pusher://…`.

`broker.py` takes what Telltale publishes, `pending.py` keeps what waits, `sender.py` sends it in a thread by way of
`service.py`. `channels.py` and `events.py` say what pages receive.
"""

from telltale.pusher.publisher.exclusion import excluding

__all__ = ["excluding"]
