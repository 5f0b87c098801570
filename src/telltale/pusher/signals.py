"""Django signals of a Pusher app. The stand-in server sends them, and the view that receives webhooks does too.

Each has the sender `None` and these arguments:

- `app_id`: the app's id, a string of digits; None if a webhook came in, because a webhook has only the app's `key`
- `key`: the app's key
- `channel`: the channel's name; without it: `user_id`, where the user is online

and, where they apply:

- `member_added`, `member_removed`: `user_id`, and `user_info` if it is known, else None
- `client_event`: `event` (its name), `data`, `socket_id`, `user_id` (None if not known)
- `channel_joined`, `channel_left`: `socket_id`, `user_id`, `user_info`; both None on channels without members
- `subscription_count`: `subscription_count`, a whole number

    @receiver(telltale.pusher.signals.member_added)
    def greet(channel, user_id, **_):
        telltale.publish("room:7", "greeting", {"to": user_id})

`channel_occupied`, `channel_vacated`, `member_added` and `member_removed` are sent once for the whole site.
`channel_joined` and `channel_left` are sent for every connection, in the process of the stand-in server that has it;
the hosted service has no such webhooks, so they never come from there. Receivers take `**kwargs`: more may follow.
"""

from django.dispatch import Signal

channel_occupied = Signal()
channel_vacated = Signal()
channel_joined = Signal()
channel_left = Signal()
member_added = Signal()
member_removed = Signal()
client_event = Signal()
cache_miss = Signal()
subscription_count = Signal()
