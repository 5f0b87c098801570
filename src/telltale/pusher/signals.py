"""Django signals of a Pusher app. The stand-in server sends them, and so does the view that receives webhooks.

Each has the sender `None`, and these arguments:

- all: `app_id`, the app's id, a string of digits; `channel`, the channel's name
- `member_added`, `member_removed`: `user_id`, and `user_info`, which is None if it is not known
- `channel_joined`, `channel_left`: `socket_id`, `user_id`, `user_info`; the last two are None on channels without
  members
- `client_event`: `event` (its name), `data`, `socket_id`, `user_id` (None if it is not known)
- `subscription_count`: `subscription_count`, a whole number

    @receiver(telltale.pusher.signals.member_added)
    def greet(channel, user_id, **kwargs):
        telltale.publish("room:7", "greeting", {"to": user_id})

`channel_occupied`, `channel_vacated`, `member_added` and `member_removed` are sent once for the whole site.
`channel_joined` and `channel_left` are sent for every connection, in the process of the stand-in server that has it.
No webhook carries these two. Receivers take `**kwargs`, because arguments may be added.
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
