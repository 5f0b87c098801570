"""The HTTP transports of Pusher's clients, for networks that refuse WebSockets: `xhr_streaming` and `xhr_polling`.

A client makes up a session, receives by requests that are held open, and sends by others. Requests of one session may
reach different processes: the first one that receives decides which process has the session, and others pass on.
"""
