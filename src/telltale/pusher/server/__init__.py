"""A server of the Pusher protocol: unchanged clients connect to it, unchanged server libraries publish through it.

- `server`: joins all parts, one for each event loop
- `clients/`: the connections of this process, their subscriptions and users, and the fan-out
- `membership/`: who is where on the whole site; pure
- `link/`: the way to the other processes
- `api/`: the HTTP API
- `hooks/`: webhooks and Django signals
- `fallback/`: clients whose network refuses WebSockets

Where clients come in: `live_socket` in the live server, `websocket` on every other ASGI server. `application` is the
ASGI application, `mounting` puts it into a site and into `telltale serve`, `standalone` is a program of its own.
"""
